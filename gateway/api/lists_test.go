package api

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"partyline/engine"
	"partyline/internal/edgetest"
)

// page reads a page of sockets, and returns their ids.
func (s *stage) page(key, query string) (ids []string, next string) {
	s.t.Helper()
	got := s.do(http.MethodGet, "/v1/sockets?namespace=/chat&"+query, key, "")
	var page struct {
		Sockets []struct{ ID string }
		Next    string
	}
	if err := json.Unmarshal([]byte(got.body), &page); err != nil || got.status != 200 {
		s.t.Fatalf("%d %.300s: %v", got.status, got.body, err)
	}
	for _, one := range page.Sockets {
		ids = append(ids, one.ID)
	}
	return ids, page.Next
}

// pages reads all pages.
func (s *stage) pages(query string) (ids []string) {
	s.t.Helper()
	for cursor := ""; ; {
		more, next := s.page(theKey, query+cursor)
		if ids = append(ids, more...); next == "" {
			return ids
		}
		cursor = "&cursor=" + next
	}
}

// Edges are asked for the ids of all sockets once for all pages of a list, and only its key has that list.
func TestPagesAskForTheIDsOnce(t *testing.T) {
	s := begin(t, func(o *Options) {
		other := everything()
		other.Name, other.Hash = "other", HashKey("other")
		o.Keys = append(o.Keys, other)
	})
	var want []string
	for i := range 7 {
		want = append(want, s.Enter(fmt.Sprint("client ", i), "/chat").ID)
	}
	slices.Sort(want)
	asked := s.Hear("sio.chat.data.>")
	times := func(n int) {
		t.Helper()
		for range n {
			asked.Next()
		}
		s.Peer.Publish("sio.chat.data.all", "[]")
		if m := asked.Next(); m.Reply != "" {
			t.Error("edges were asked once more")
		}
	}
	if got := s.pages("to=all&limit=2"); !slices.Equal(got, want) {
		t.Errorf("the pages have %v, want %v", got, want)
	}
	times(1)
	if got, next := s.page(theKey, "to=all&limit=7"); !slices.Equal(got, want) || next != "" {
		t.Errorf("the page has %v, then %q", got, next)
	}
	times(1)
	if got, _ := s.page("other", "to=all&limit=2&cursor="+want[0]); !slices.Equal(got, want[1:3]) {
		t.Errorf("with another key: %v", got)
	}
	times(1)
	if got, _ := s.page(theKey, "to=room:none&limit=2&cursor="+want[0]); len(got) > 0 {
		t.Errorf("the list of another target has %v", got)
	}
	times(1)
	late := s.Enter("late", "/chat").ID
	if got, _ := s.page(theKey, "to=all&limit=1000"); !slices.Contains(got, late) {
		t.Error("a first page has an old list")
	}
	times(1)
	s.lists.mu.Lock()
	if want := 2 * 7 * listedBytes; s.lists.bytes != want || len(s.lists.kept) != 2 {
		t.Errorf("%d lists with %d bytes are kept, want 2 with %d", len(s.lists.kept), s.lists.bytes, want)
	}
	clear(s.lists.kept) // as if the time were over, and others had filled the room
	s.lists.bytes = mostListBytes
	s.lists.mu.Unlock()
	if got := s.pages("to=all&limit=3"); len(got) != 8 {
		t.Errorf("without room for a list, the pages have %v", got)
	}
	times(3)
}

var sockets10k = flag.Int("sockets", 10_000, "sockets of BenchmarkPages")

// BenchmarkPages lists all sockets, each with 1,000 bytes of data, in pages of 1,000.
func BenchmarkPages(b *testing.B) {
	s := beginOn(b, edgetest.Begin(b, namespaces(), func(o *edgetest.Options) {
		o.Engine = engine.DefaultConfig()
		o.Engine.PingInterval = time.Hour // clients over polling do nothing but connect
	}))
	request := func(method, query, body string) string {
		r, _ := http.NewRequest(method, s.Node.URL+"/socket.io/?EIO=4&transport=polling"+query, strings.NewReader(body))
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			b.Error(err)
			return ""
		}
		defer func() { _ = response.Body.Close() }()
		text, _ := io.ReadAll(response.Body)
		return string(text)
	}
	var connecting sync.WaitGroup
	for range 8 {
		connecting.Go(func() {
			for range *sockets10k / 8 {
				var open struct{ SID string }
				_ = json.Unmarshal([]byte(strings.TrimPrefix(request(http.MethodGet, "", ""), "0")), &open)
				if got := request(http.MethodPost, "&sid="+open.SID, "40/chat,"); got != "ok" {
					b.Errorf("the CONNECT was answered %q", got)
					return
				}
			}
		})
	}
	connecting.Wait()
	edgetest.Eventually(b, "all are connected", func() bool {
		ids, err := s.io.Of("/chat").IDs(b.Context())
		return err == nil && len(ids) == *sockets10k/8*8
	})
	s.answers("data", `{"namespace":"/chat","to":{"all":true},"data":"`+strings.Repeat("d", 1000)+`"}`, 200, fmt.Sprintf(`{"sockets":%d}`, *sockets10k/8*8))
	b.ReportAllocs() // of the edge and the client, too
	for b.Loop() {
		s.pages("to=all&limit=1000")
	}
}
