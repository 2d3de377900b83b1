package adminui

import (
	"io/fs"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, p *pages, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w
}

func newTestPages(t *testing.T, url string) *pages {
	t.Helper()
	p, err := newPages(url)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPages(t *testing.T) {
	p := newTestPages(t, "https://chat.example/")
	if !p.isBuilt {
		t.Skip("LEFT OUT: the pages of the Admin UI are not in gateway/adminui/pages; run `make client`")
	}
	index := get(t, p, "/ui/")
	if index.Code != 200 || !strings.Contains(index.Body.String(), `<script src="settings.js">`) {
		t.Fatalf("%d %s", index.Code, index.Body)
	}
	policy := index.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "connect-src 'self' https://chat.example wss://chat.example;") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %s", policy)
	}
	links := regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(index.Body.String(), -1)
	if len(links) < 10 {
		t.Fatalf("the page has the links %v", links)
	}
	for _, link := range links {
		if got := get(t, p, "/ui/"+link[1]); got.Code != 200 || got.Body.Len() == 0 {
			t.Errorf("%s: %d, %d bytes", link[1], got.Code, got.Body.Len())
		}
	}
	if got := get(t, p, "/ui/settings.js").Body.String(); !strings.Contains(got, `server_url ||= "https://chat.example"`) {
		t.Errorf("the settings are %s", got)
	}
	if got := get(t, p, "/ui/icons/fonts/materialdesignicons-webfont.woff2").Header().Get("Content-Type"); got != "font/woff2" {
		t.Errorf("fonts are %s", got)
	}
	for path, status := range map[string]int{"/ui/js/": 404, "/ui/none.js": 404, "/ui/../page.go": 404} {
		if got := get(t, p, path); got.Code != status {
			t.Errorf("%s: %d, want %d", path, got.Code, status)
		}
	}
	if got := get(t, newTestPages(t, ""), "/ui/"); !strings.Contains(got.Header().Get("Content-Security-Policy"), "connect-src *;") {
		t.Errorf("without the address of the edges the policy is %s", got.Header())
	}
}

// Nothing that browsers load from the pages is on another host.
func TestStylesLoadNothingFromElsewhere(t *testing.T) {
	foreign := regexp.MustCompile(`url\(["']?(https?:|//)|@import`)
	err := fs.WalkDir(pageFiles, "pages", func(name string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, ".css") {
			var text []byte
			if text, err = fs.ReadFile(pageFiles, name); foreign.Match(text) {
				t.Errorf("%s loads from another host", name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPagesThatAreNotBuiltIn(t *testing.T) {
	p := newTestPages(t, "")
	p.isBuilt = false
	if got := get(t, p, "/ui/"); got.Code != 404 || !strings.Contains(got.Body.String(), "make client") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestAddressesOfTheEdges(t *testing.T) {
	for _, wrong := range []string{"chat.example", "ftp://chat.example", "https://", "https://chat.example/chat", "https://chat.example?x", "://"} {
		if _, err := newPages(wrong); err == nil {
			t.Errorf("%s is accepted", wrong)
		}
	}
}
