package gateways

import (
	"context"
	"sync"

	"partyline/admin"
	"partyline/cmd/internal/program"
	"partyline/config"
	"partyline/internal/listen"
	"partyline/internal/tally"
)

// Main runs cmd/gateway, and returns its exit status.
func Main() int { return program.Main(Program()) }

// Commands are those of all programs with a gateway.
var Commands = map[string]func(context.Context, program.Call) int{"key": key, "user": user}

// Program is cmd/gateway.
func Program() program.Program {
	return program.Program{Name: config.FlavourGateway, Serve: serve, Check: Check, Commands: Commands}
}

// Check finds what only a program with a gateway can say of a configuration.
func Check(c config.Config) error {
	_, err := uiOf(c)
	return err
}

// serve runs cmd/gateway until ctx ends or a part fails. The operator's pages end last.
func serve(ctx context.Context, s program.Start) error {
	c, log := s.Config, s.Log
	g, err := Open(c, nil, log)
	if err != nil {
		return err
	}
	closing := sync.OnceFunc(g.Close)
	defer closing()
	limiter := listen.New(listen.Settings{Log: log}) // or those who have no key could leave hooks without a descriptor
	pages, err := operatorsSite(s, g, limiter.Metrics())
	if err != nil {
		return err
	}
	sites := []*program.Site{pages}
	listening := []any{"version", program.Version(), "admin", pages.Listener.Addr().String()}
	public, err := g.Site(c, log)
	if err != nil {
		_ = pages.Listener.Close()
		return err
	}
	if public != nil {
		public.Listener, public.Limiter = limiter.Listen(public.Listener), limiter
		sites = append(sites, public)
		listening = append(listening, "address", public.Listener.Addr().String())
	}
	failed, wait := program.ServeAll(sites)
	defer wait()
	defer pages.Stop(log)
	defer closing()
	if public != nil {
		defer public.Stop(log)
	}
	starting, stop := context.WithCancel(ctx)
	var start sync.WaitGroup
	defer start.Wait()
	defer stop()
	refused := make(chan error, 1)
	start.Go(func() {
		if err := g.Start(starting); err != nil {
			refused <- err
		}
	})
	defer s.Reloads.Begin(g.Prepare)()
	log.Info("listening", listening...)
	select {
	case err = <-failed:
	case err = <-refused:
	case <-ctx.Done():
		log.Info("stopping", "cause", context.Cause(ctx))
	}
	return err
}

// operatorsSite opens the operator's pages.
func operatorsSite(s program.Start, g *Gateway, more *tally.Set) (*program.Site, error) {
	c, log := s.Config, s.Log
	pages, err := admin.NewHandler(admin.Options{
		Version: program.Version(), Ready: g.Ready, Pprof: c.Admin.Pprof, Token: c.Admin.Token, Hosts: c.Admin.Names(),
		Reload: s.Reloads.Reload, Metrics: append(g.Metrics(), s.Metrics, more), Log: log,
	})
	if err != nil {
		return nil, err
	}
	l, err := program.OpenListener("admin.listen", c.Admin.Listen)
	if err != nil {
		return nil, err
	}
	return &program.Site{Name: "admin.listen", Listener: l, Server: admin.NewServer(pages, log)}, nil
}
