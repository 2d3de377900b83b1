package origin

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// headerOf makes a header of "Name: value" lines.
func headerOf(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

const proxy, host = "10.0.0.1", "chat.example"

// peers are requests from an address with headers, and their senders.
var peers = []struct {
	name, remote string
	lines        []string
	want         Peer
}{
	{"direct", "192.0.2.1", []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-Host: evil", "X-Forwarded-Proto: https", "X-Forwarded-Port: 1", "Forwarded: for=1.1.1.1;host=evil;proto=https"},
		Peer{Address: "192.0.2.1", Host: host}},
	{"no header", proxy, nil, Peer{Address: proxy, Host: host}},
	{"one proxy", proxy, []string{"X-Forwarded-For: 192.0.2.7", "X-Forwarded-Host: public.example", "X-Forwarded-Proto: https"}, Peer{Address: "192.0.2.7", Host: "public.example", Scheme: "https"}},
	{"two proxies and a lie", proxy, []string{"X-Forwarded-For: 1.1.1.1, 192.0.2.7", "X-Forwarded-For: 10.2.3.4"}, Peer{Address: "192.0.2.7", Host: host}},
	{"nonsense", proxy, []string{"X-Forwarded-For: 192.0.2.7, unknown"}, Peer{Address: proxy, Host: host}},
	{"all are trusted", proxy, []string{"X-Forwarded-For: 10.0.0.3, 10.0.0.2"}, Peer{Address: "10.0.0.3", Host: host}},

	{"a port", proxy, []string{"X-Forwarded-For: 203.0.113.1:1001"}, Peer{Address: "203.0.113.1", Host: host}},
	{"IPv6", proxy, []string{"X-Forwarded-For: 2001:db8::1"}, Peer{Address: "2001:db8::1", Host: host}},
	{"IPv6 in brackets", proxy, []string{"X-Forwarded-For: [2001:db8::1]"}, Peer{Address: "2001:db8::1", Host: host}},
	{"IPv6 with a port", proxy, []string{"X-Forwarded-For: [2001:db8::1]:4711"}, Peer{Address: "2001:db8::1", Host: host}},
	{"IPv6, spelled otherwise", proxy, []string{"X-Forwarded-For: 2001:DB8:0:0::1"}, Peer{Address: "2001:db8::1", Host: host}},
	{"IPv4 in IPv6", proxy, []string{"X-Forwarded-For: ::ffff:192.0.2.7"}, Peer{Address: "192.0.2.7", Host: host}},
	{"ports of proxies", proxy, []string{"X-Forwarded-For: 203.0.113.1:1, 10.0.0.3:2, [2001:db8:1::5]:3"}, Peer{Address: "203.0.113.1", Host: host}},
	{"a proxy with a zone", "fe80::1%eth0", []string{"X-Forwarded-For: 203.0.113.1"}, Peer{Address: "203.0.113.1", Host: host}},
	{"a zone", proxy, []string{"X-Forwarded-For: fe90::1%<script>"}, Peer{Address: "fe90::1", Host: host}},

	{"host with a port", proxy, []string{"X-Forwarded-Host: chat.example.com:8443"}, Peer{Address: proxy, Host: "chat.example.com:8443"}},
	{"hosts", proxy, []string{"X-Forwarded-Host: public.example:8443, inner.example"}, Peer{Address: proxy, Host: "public.example:8443"}},
	{"a port beside", proxy, []string{"X-Forwarded-Port: 8080"}, Peer{Address: proxy, Host: host, Port: "8080"}},
	{"a port beside a port", proxy, []string{"X-Forwarded-Host: h:1", "X-Forwarded-Port: 8080"}, Peer{Address: proxy, Host: "h:1"}},
	{"no port", proxy, []string{"X-Forwarded-Port: http"}, Peer{Address: proxy, Host: host}},
	{"schemes", proxy, []string{"X-Forwarded-Proto: wss, http"}, Peer{Address: proxy, Host: host, Scheme: "https"}},
	{"plain", proxy, []string{"X-Forwarded-Proto: HTTP"}, Peer{Address: proxy, Host: host, Scheme: "http"}},
	{"no scheme", proxy, []string{"X-Forwarded-Proto: gopher"}, Peer{Address: proxy, Host: host}},

	{"Forwarded", proxy, []string{"Forwarded: for=203.0.113.1;proto=https;host=public.example;by=10.0.0.1"}, Peer{Address: "203.0.113.1", Host: "public.example", Scheme: "https"}},
	{"Forwarded, quoted", proxy, []string{`Forwarded: For="[2001:db8::1]:4711" ; Proto="HTTPS" ; Host="public.example:8443"`}, Peer{Address: "2001:db8::1", Host: "public.example:8443", Scheme: "https"}},
	{"Forwarded, escaped", proxy, []string{`Forwarded: host="a\"b,c;d=e";for=203.0.113.1`}, Peer{Address: "203.0.113.1", Host: `a"b,c;d=e`}},
	{"Forwarded, two proxies and a lie", proxy, []string{"Forwarded: for=1.1.1.1;host=evil;proto=http, for=192.0.2.7;host=public.example;proto=https", "Forwarded: for=10.2.3.4;host=inner"},
		Peer{Address: "192.0.2.7", Host: "public.example", Scheme: "https"}},
	{"Forwarded, hidden", proxy, []string{"Forwarded: for=1.1.1.1;host=evil, for=_hidden;host=public.example"}, Peer{Address: proxy, Host: "public.example"}},
	{"Forwarded, unknown", proxy, []string{"Forwarded: for=unknown"}, Peer{Address: proxy, Host: host}},
	{"Forwarded, a hidden port", proxy, []string{`Forwarded: for="203.0.113.1:_x"`}, Peer{Address: "203.0.113.1", Host: host}},
	{"Forwarded, the outer proxy says it", proxy, []string{"Forwarded: for=203.0.113.1;host=public.example;proto=https, for=192.0.2.9"}, Peer{Address: "192.0.2.9", Host: "public.example", Scheme: "https"}},
	{"Forwarded, nonsense", proxy, []string{`Forwarded: ;;,=,"`}, Peer{Address: proxy, Host: host}},
	{"Forwarded, empty", proxy, []string{"Forwarded: "}, Peer{Address: proxy, Host: host}},
	{"both", proxy, []string{"X-Forwarded-For: 192.0.2.7", "Forwarded: for=1.1.1.1;proto=https"}, Peer{Address: "192.0.2.7", Host: host, Scheme: "https"}},
	{"both, all of it", proxy, []string{"X-Forwarded-For: 192.0.2.7", "X-Forwarded-Host: a", "X-Forwarded-Proto: http", "Forwarded: for=1.1.1.1;host=b;proto=https"}, Peer{Address: "192.0.2.7", Host: "a", Scheme: "http"}},
}

func TestPeer(t *testing.T) {
	proxies := Proxies{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48"), netip.MustParsePrefix("fe80::/10"),
	}
	for _, c := range peers {
		t.Run(c.name, func(t *testing.T) {
			remote := c.remote + ":5"
			if strings.Contains(c.remote, ":") {
				remote = "[" + c.remote + "]:5"
			}
			if got := proxies.Peer(&http.Request{RemoteAddr: remote, Host: host, Header: headerOf(c.lines...)}); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
