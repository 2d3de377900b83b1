package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"partyline/wire/recovery"
)

const (
	// maxRecordAge is how long a record stays that is not written again.
	maxRecordAge = 24 * time.Hour
	// duplicateWindow is how long the log remembers the ids of events: publishers repeat what is not confirmed.
	duplicateWindow = 2 * time.Minute
)

// logConfig is what the log must be like.
func (l *Log) logConfig() jetstream.StreamConfig {
	p := l.set.Prefix.String()
	var captured []string
	for _, s := range l.set.Subjects {
		captured, _ = withSubject(captured, s)
	}
	return jetstream.StreamConfig{
		Name: l.Stream(), Subjects: captured, Storage: l.storage(), Replicas: l.set.Replicas,
		MaxBytes: l.set.MaxBytes, MaxAge: l.set.MaxAge, MaxMsgs: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1, MaxConsumers: -1,
		Duplicates: min(duplicateWindow, l.set.MaxAge), AllowDirect: true,
		RePublish:   &jetstream.RePublish{Source: p + ".*.emit.>", Destination: p + ".{{wildcard(1)}}.log.>"},
		Description: "Events of namespaces with recovery or rewind. Made by edges of Partyline.",
	}
}

// recordsConfig is what the stream of records must be like.
func (l *Log) recordsConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: l.records(), Subjects: []string{l.set.Prefix.Session("*"), l.set.Prefix.SessionBeat("*")},
		Storage: l.storage(), Replicas: l.set.Replicas, MaxBytes: -1, MaxAge: maxRecordAge, MaxMsgs: -1, MaxMsgsPerSubject: 1, MaxMsgSize: -1, MaxConsumers: -1,
		Duplicates: 30 * time.Second, AllowDirect: true, AllowMsgTTL: true, // short: nothing is published with an id
		Description: "What edges must know of a socket to recover it. Made by edges of Partyline.",
	}
}

func (l *Log) storage() jetstream.StorageType {
	if l.set.Storage == StorageMemory {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

// look makes the streams, or checks them. It keeps what Ready returns, and returns what is wrong.
func (l *Log) look(ctx context.Context) error {
	info, err := l.ensureBoth(ctx)
	l.mu.Lock()
	isNew := false
	switch {
	case err == nil:
		epoch := epochOf(info)
		isNew = epoch != l.epoch
		l.epoch, l.why, l.found = epoch, nil, true
	case !l.found || !errors.Is(err, ErrAway): // in an election or outage nothing is known about the streams
		l.why, l.found = []string{err.Error()}, false
	}
	l.mu.Unlock()
	if isNew {
		l.set.Log.Info("found the log of events", "stream", l.Stream(), "epoch", l.Epoch(), "created", info.Created,
			"first", info.State.FirstSeq, "last", info.State.LastSeq)
		l.onEpoch(l.Epoch())
	}
	return err
}

// ensureBoth makes or checks both streams, and returns the log's state.
func (l *Log) ensureBoth(ctx context.Context) (*jetstream.StreamInfo, error) {
	records, err := ensure(ctx, l.js, l.recordsConfig())
	if err != nil {
		return nil, err
	}
	info, err := ensure(ctx, l.js, l.logConfig())
	if err != nil {
		return nil, err
	}
	if info, err = l.relive(ctx, info); err != nil {
		return nil, err
	}
	l.stats.records.Set(int(records.State.Msgs))
	l.stats.messages.Set(int(info.State.Msgs))
	l.stats.bytes.Set(int(info.State.Bytes))
	return info, nil
}

// livesKey is in the metadata of the log: how often its sequence went back.
const livesKey = "partyline_lives"

func lives(info *jetstream.StreamInfo) int {
	n, _ := strconv.Atoi(info.Config.Metadata[livesKey]) // none yet
	return n
}

// epochOf returns the epoch of the log as it is. A stream keeps the time of its creation when its server loses the
// messages.
func epochOf(info *jetstream.StreamInfo) string {
	return recovery.Epoch(info.Created.Add(time.Duration(lives(info)) * time.Millisecond))
}

// relive gives the log a new epoch if its sequence went back and no other edge was faster. One look may be answered by
// a server that does not know yet that it leads no more, so two must agree.
func (l *Log) relive(ctx context.Context, info *jetstream.StreamInfo) (*jetstream.StreamInfo, error) {
	wentBack := l.wentBack.Swap(false)
	switch epoch := l.Epoch(); {
	case epoch == "" || epoch != epochOf(info):
		l.lastSeq, l.lower = info.State.LastSeq, 0
		return info, nil
	case info.State.LastSeq >= l.lastSeq:
		l.lastSeq, l.lower = info.State.LastSeq, 0
	default:
		l.lower++
		l.Doubt()
	}
	if !wentBack && l.lower < 2 {
		return info, nil
	}
	config := info.Config
	config.Metadata = ownMetadata(config.Metadata)
	config.Metadata[livesKey] = strconv.Itoa(lives(info) + 1)
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	stream, err := l.js.UpdateStream(ctx, config)
	if err != nil {
		l.wentBack.Store(true)
		return nil, explain(ctx, l.js, config, fmt.Errorf("it has lost messages, and its epoch cannot be changed: %w", err))
	}
	l.set.Log.Warn("the log of events has lost its end: clients with older offsets are not recovered", "stream", config.Name,
		"last", info.State.LastSeq, "before", l.lastSeq)
	l.lastSeq, l.lower = info.State.LastSeq, 0
	return stream.CachedInfo(), nil
}

// ensure makes a stream, or checks it and raises its limits.
func ensure(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	stream, err := js.Stream(ctx, want.Name)
	made := false
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		made = true
		stream, err = js.CreateStream(ctx, want)
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another edge was faster, with other settings
		made = false
		stream, err = js.Stream(ctx, want.Name)
	}
	if err != nil {
		return nil, explain(ctx, js, want, err)
	}
	have := stream.CachedInfo()
	if c := have.Cluster; c != nil && c.Leader == "" { // then each replica answers, also one that lags
		return nil, fmt.Errorf("%w about stream %s: it has no leader now", ErrAway, want.Name)
	}
	if made {
		return have, nil
	}
	if faults := differences(&have.Config, &want); len(faults) > 0 {
		return nil, fmt.Errorf("stream %s has settings with which it cannot serve: %s. Correct them with `nats stream edit`, "+
			"or delete the stream: edges make it again", want.Name, strings.Join(faults, "; "))
	}
	if raised, changed := raise(have.Config, &want); changed {
		stream, err := js.UpdateStream(ctx, raised)
		if err != nil {
			return nil, explain(ctx, js, want, fmt.Errorf("its limits cannot be raised: %w", err))
		}
		return stream.CachedInfo(), nil
	}
	return have, nil
}

// differences lists the settings of a stream that are wrong and that edges do not change.
func differences(have, want *jetstream.StreamConfig) (faults []string) {
	differ := func(name string, have, want any) {
		if have != want {
			faults = append(faults, fmt.Sprintf("%s is %v, must be %v", name, have, want))
		}
	}
	differ("retention", have.Retention, want.Retention)
	differ("storage", have.Storage, want.Storage)
	differ("discard", have.Discard, want.Discard)
	differ("max_msgs_per_subject", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	differ("max_msg_size", have.MaxMsgSize, want.MaxMsgSize)
	differ("allow_direct", have.AllowDirect, want.AllowDirect)
	differ("allow_msg_ttl", have.AllowMsgTTL, want.AllowMsgTTL)
	differ("sealed", have.Sealed, false)
	differ("mirror", have.Mirror != nil, false)
	differ("subject_transform", have.SubjectTransform != nil, false)
	differ("no_ack", have.NoAck && want.AllowMsgTTL, false) // writes of records wait for acks
	differ("republish", republished(have), republished(want))
	return faults
}

// republished is the republish setting as text.
func republished(c *jetstream.StreamConfig) string {
	if c.RePublish == nil {
		return "none"
	}
	text := fmt.Sprintf("%q to %q", c.RePublish.Source, c.RePublish.Destination)
	if c.RePublish.HeadersOnly {
		text += " without bodies"
	}
	return text
}

// raise returns a configuration with the subjects and limits of both, and whether it differs from have.
func raise(have jetstream.StreamConfig, want *jetstream.StreamConfig) (jetstream.StreamConfig, bool) {
	changed := false
	for _, s := range want.Subjects {
		var added bool
		have.Subjects, added = withSubject(have.Subjects, s)
		changed = changed || added
	}
	if have.MaxBytes > 0 && (want.MaxBytes <= 0 || have.MaxBytes < want.MaxBytes) {
		have.MaxBytes, changed = want.MaxBytes, true
	}
	if have.MaxAge > 0 && have.MaxAge < want.MaxAge {
		have.MaxAge, changed = want.MaxAge, true
	}
	if have.Replicas < want.Replicas {
		have.Replicas, changed = want.Replicas, true
	}
	have.Metadata = ownMetadata(have.Metadata)
	return have, changed
}

// ownMetadata returns a copy without what the server adds.
func ownMetadata(all map[string]string) map[string]string {
	own := make(map[string]string, len(all))
	for name, value := range all {
		if !strings.HasPrefix(name, "_nats.") {
			own[name] = value
		}
	}
	return own
}

// withSubject adds a subject to those of a stream, in place of those that it covers. It returns false if one covers it
// already.
func withSubject(all []string, subject string) ([]string, bool) {
	if slices.ContainsFunc(all, func(s string) bool { return covers(s, subject) }) {
		return all, false
	}
	rest := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return covers(subject, s) })
	return append(rest, subject), true
}

// covers reports whether all that one subject with wildcards matches, another matches, too.
func covers(wide, narrow string) bool {
	w, n := strings.Split(wide, "."), strings.Split(narrow, ".")
	for i, token := range w {
		switch {
		case i >= len(n):
			return false
		case token == ">":
			return true
		case token != n[i] && (token != "*" || n[i] == ">"):
			return false
		}
	}
	return len(w) == len(n)
}

// Codes of errors of JetStream's API, as nats-server has them.
const (
	codeNoLeader  = 10008 // of the streams of a cluster, at present
	codeResources = 10023
	codeOverlap   = 10065
	codeMemory    = 10028
	codeStorage   = 10047
	codeReplicas  = 10074
)

// explain makes an error of JetStream one that says what to do.
func explain(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, err error) error {
	var api *jetstream.APIError
	code := jetstream.ErrorCode(0)
	if errors.As(err, &api) {
		code = api.ErrorCode
	}
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("NATS has no JetStream, which recovery and rewind need. Switch it on in nats-server's configuration: "+
			"jetstream {}: %w", err)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("the account of this edge has no JetStream, which recovery and rewind need. Give it limits for JetStream: %w", err)
	case code == codeOverlap:
		return fmt.Errorf("stream %s cannot be made: %s captures the same subjects (%s), and NATS gives a subject to one stream only. "+
			"Remove them there; that stream can have %s as a source instead: %w",
			want.Name, overlapping(ctx, js, want), strings.Join(want.Subjects, ", "), want.Name, err)
	case code == codeReplicas:
		return fmt.Errorf("stream %s cannot have %d replicas: set recovery.replicas to 1, or run so many servers with JetStream: %w",
			want.Name, want.Replicas, err)
	case code == codeResources || code == codeMemory || code == codeStorage:
		return fmt.Errorf("JetStream has no room for stream %s (%d replicas of up to %d bytes, %s): lower recovery.max_bytes "+
			"or raise JetStream's limits: %w", want.Name, want.Replicas, want.MaxBytes, want.Storage, err)
	case code == codeNoLeader, errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrReconnectBufExceeded),
		errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrDisconnected):
		return fmt.Errorf("%w about stream %s. If that lasts: does JetStream run, and may this user publish to $JS.API.>? %w",
			ErrAway, want.Name, err)
	}
	return fmt.Errorf("stream %s: %w", want.Name, err)
}

// overlapping names the other streams that capture subjects of one.
func overlapping(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) string {
	var names []string
	for _, subject := range want.Subjects {
		for name := range js.StreamNames(ctx, jetstream.WithStreamListSubject(subject)).Name() {
			if name != want.Name && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return "another stream"
	}
	return "stream " + strings.Join(names, " and ")
}
