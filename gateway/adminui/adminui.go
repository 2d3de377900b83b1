// Package adminui shows the whole cluster in a browser. It serves the built pages of Socket.IO's Admin UI, and is the
// service of the namespace /admin, to which these pages connect as any client does: through an edge.
//
// What the Admin UI expects of one Socket.IO server comes from all edges here: while a page is open, the sockets from
// fetch.all of each namespace, and the servers from the edges' announcements. Pages get what has changed. The protocol is
// that of the server part of npm's @socket.io/admin-ui 0.5.1, without its copies of all events.
//
// The pages are third-party code and not in the repository: fetch-pages.sh copies them from npm before the build.
package adminui

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"partyline/backend"
	"partyline/internal/tally"
	"partyline/subjects"
)

// Namespace is what the pages connect to. The edges must declare it with connect: service, and without rooms: the
// commands join and leave of the pages are events of these names.
const Namespace = subjects.AdminUI

// maxPages bounds the pages that are open at this instance.
const maxPages = 50

// errCredentials is the message for which the Admin UI asks for a name and a password again.
const errCredentials = "invalid credentials"

// Options are what a UI needs.
type Options struct {
	Service  *backend.Service // that has not started; it becomes the service of Namespace
	Users    Users            // who may log in
	Loopback bool             // clients on loopback need no login
	Readonly bool             // pages show, and change nothing
	URL      string           // where browsers reach the edges, such as "https://chat.example"; "": the page asks
	Secret   string           // from which sessions are signed, the same for all instances; "": sessions are of this one alone
	Log      *slog.Logger
}

// UI is the pages and their service. It is safe for concurrent use.
type UI struct {
	set   Options
	login *login
	watch *watch
	pages *pages
	stats *stats
}

// stats is what a UI counts.
type stats struct {
	open                         tally.Gauge
	logins                       [loginResults]tally.Counter
	commands, failed, unanswered tally.Counter
}

// New makes a UI, and registers the handlers of Namespace. It fails if no user could log in, or if the URL is none.
func New(o Options) (*UI, error) {
	if len(o.Users) == 0 && !o.Loopback {
		return nil, errors.New("adminui: no one could log in: there are no users")
	}
	pages, err := newPages(o.URL)
	if err != nil {
		return nil, err
	}
	u := &UI{set: o, pages: pages, stats: &stats{}}
	u.login = newLogin(o, u.stats)
	u.watch = newWatch(o, u.stats)
	admin := o.Service.Of(Namespace, backend.Owned())
	admin.Use(u.admit)
	admin.OnConnection(u.connected)
	admin.OnDisconnect(func(s *backend.Socket, _ string) { u.watch.remove(s) })
	admin.OnHandover(func(s *backend.Socket, _ string) { u.watch.remove(s) })
	if !o.Readonly {
		u.register(admin)
	}
	return u, nil
}

// Close ends what runs for open pages. Service.Close comes first.
func (u *UI) Close() { u.watch.close() }

// SetUsers replaces who may log in. Pages that are open stay so until their sessions end.
func (u *UI) SetUsers(users Users) { u.login.users.Store(&users) }

// Handler serves the pages below /ui/.
func (u *UI) Handler() http.Handler { return u.pages }

// Metrics returns what the UI counts.
func (u *UI) Metrics() *tally.Set {
	set, st := &tally.Set{}, u.stats
	set.Gauge(&st.open, "admin_pages", "Pages of the Admin UI that are connected to this instance.")
	set.LabelledCounters(st.logins[:], "admin_logins_total", "Connects of pages of the Admin UI, by what came of them.", "result", loginWords[:])
	set.Counter(&st.commands, "admin_commands_total", "Commands of pages of the Admin UI: emit, join, leave and disconnect.")
	set.Counter(&st.failed, "admin_commands_failed_total", "Those of them that failed.")
	set.Counter(&st.unanswered, "admin_fetches_failed_total", "Questions to edges for the Admin UI that failed, or that an edge did not answer.")
	return set
}

// admit is the middleware of Namespace. The grant ends the connection with the session, and keeps all other events away.
func (u *UI) admit(s *backend.Socket) error {
	user, expires, err := u.login.check(s.Handshake(), time.Now())
	if err != nil {
		return backend.Refuse(err.Error())
	}
	if u.stats.open.Value() >= maxPages {
		return backend.Refuse("too many pages are open")
	}
	grant := backend.Grant{User: user, Emit: []string{"emit", "join", "leave", "_disconnect"}, Expires: expires}
	if u.set.Readonly {
		grant.Emit = []string{}
	}
	return s.SetGrant(s.Context(), grant)
}

// connected sends a page the session that it has logged in for, and shows it the cluster.
func (u *UI) connected(s *backend.Socket) {
	var given credentials
	_ = s.Handshake().DecodeAuth(&given)
	// One that admit has taken, and that may have ended since. It gets no other session: it would never end.
	_, _, isSession := u.login.read(given.SessionID, time.Now().Add(-time.Minute))
	if _, isTaken := s.TakenOver(); s.User() != "" && given.Password != "" && !isSession && !isTaken {
		_ = s.Emit("session", u.login.write(s.User(), time.Now().Add(sessionLasts))) // without it, a reload asks again
	}
	u.watch.add(s)
}

// register adds the handlers of commands. Filter is a room, the id of a socket, or "" for all sockets of the namespace.
func (u *UI) register(admin *backend.Namespace) {
	admin.On("emit", func(s *backend.Socket, namespace, filter, event string, args ...any) error {
		return u.command(s, "emit "+event, namespace, filter, func(t backend.Target) error { return t.Emit(event, args...) })
	})
	for verb, move := range map[string]func(backend.Target, context.Context, ...string) (int, error){
		"join": backend.Target.Join, "leave": backend.Target.Leave,
	} {
		admin.On(verb, func(ctx context.Context, s *backend.Socket, namespace, room, filter string) error {
			return u.command(s, verb+" "+room, namespace, filter, func(t backend.Target) error {
				_, err := move(t, ctx, room)
				return err
			})
		})
	}
	admin.On("_disconnect", func(ctx context.Context, s *backend.Socket, namespace string, closing bool, filter string) error {
		return u.command(s, "disconnect", namespace, filter, func(t backend.Target) error {
			_, err := t.Disconnect(ctx, closing)
			return err
		})
	})
}

// command does what a page asks for, and logs it: people share these pages.
func (u *UI) command(s *backend.Socket, what, namespace, filter string, do func(backend.Target) error) error {
	u.stats.commands.Inc()
	all, err := namespaceOf(u.set.Service, namespace)
	if err == nil {
		target := all.Target
		if filter != "" {
			target = target.To(filter)
		}
		err = do(target)
	}
	if errors.Is(err, backend.UnknownSocket) { // it has gone meanwhile, and the page will show that
		err = nil
	}
	u.set.Log.Info("a command of the Admin UI", "user", s.User(), "command", what, "namespace", namespace, "to", filter, "error", err)
	u.watch.wake.Raise()
	if err != nil {
		u.stats.failed.Inc()
		return fmt.Errorf("%s in namespace %.64q: %w", what, namespace, err)
	}
	return nil
}

// namespaceOf returns a namespace by a name that others chose: Service.Of would panic, or take it for a pattern.
func namespaceOf(service *backend.Service, name string) (*backend.Namespace, error) {
	if _, err := subjects.AppendNamespace(nil, name); err != nil {
		return nil, err
	}
	if strings.Contains(name, "*") {
		return nil, errors.New("names with * are patterns here")
	}
	return service.Of(name), nil
}
