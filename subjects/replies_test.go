package subjects

import "testing"

func TestReplies(t *testing.T) {
	own, err := NewPrefix("prod.sio")
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReplies(own, []string{DefaultReplies, "answers.chat"})
	if err != nil {
		t.Fatal(err)
	}
	for reply, want := range map[string]bool{
		"_INBOX.x": true, "_INBOX.other.x": true, "answers.chat.x": true, "answers.chat.x.y": true,
		"": false, "_INBOX": false, "_INBOX.": false, "_INBOXES.x": false, "_inbox.x": false, "answers.news.x": false,
		"answers.chat": false, "orders.create": false, "sio.c.emit.all": false, "sio2.c.emit.all": false,
		"prod.sio.c.emit.all": false, "prod.sio": false, "$SRV.PING": false, "$JS.API.STREAM.DELETE.x": false,
		" _INBOX.x": false, "_INBOX2.x": false,
	} {
		if got := r.Allow(reply); got != want {
			t.Errorf("Allow(%q) = %v", reply, got)
		}
	}
	if (&Replies{}).Allow("_INBOX.x") {
		t.Error("the zero Replies allows a subject")
	}
	if n := testing.AllocsPerRun(100, func() { r.Allow("orders.create") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestReplyPrefixes(t *testing.T) {
	own, _ := NewPrefix("prod.sio")
	for prefix, ok := range map[string]bool{
		"_INBOX": true, "_INBOX.>": true, "_INBOX.chat": true, "_R_.>": true, "a.b.c.>": true, "prod.siox": true,
		"": false, ">": false, ".>": false, "*.x": false, "a.*": false, "a.>.b": false, "a..b": false, "$JS.>": false,
		"a b": false, "prod.sio": false, "prod.sio.>": false, "prod": false, "prod.>": false, "prod.sio.chat": false,
	} {
		if _, err := NewReplies(own, []string{prefix}); (err == nil) != ok {
			t.Errorf("%q: %v", prefix, err)
		}
	}
	for _, prefix := range []string{"_INBOX", "_INBOX.>"} {
		if got, err := NormalReplies(prefix); got != DefaultReplies || err != nil {
			t.Errorf("NormalReplies(%q) = %q, %v", prefix, got, err)
		}
	}
}
