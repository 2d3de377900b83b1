package admin

import (
	"net/http"
	"strings"
)

// Drainer sends the clients of a process elsewhere and lets them come back.
type Drainer interface {
	Drain()        // begins it and returns at once
	Return() error // takes clients again; the error says why that cannot be
}

// drainPage begins a drain, or ends it, and says how things stand. It is the only page that changes something, so it takes
// no request that a web page in the operator's browser could make: browsers say with each POST where it comes from.
func drainPage(d Drainer, ready func() []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header["Origin"] != nil || r.Header["Sec-Fetch-Site"] != nil || r.Header["Referer"] != nil {
			writeText(w, http.StatusForbidden, "this is not for browsers: use a program such as curl")
			return
		}
		switch r.URL.RawQuery {
		case "":
			d.Drain()
		case "cancel":
			if err := d.Return(); err != nil {
				writeText(w, http.StatusConflict, err.Error())
				return
			}
		default:
			writeText(w, http.StatusBadRequest, "POST /drain sends the clients to other edges, POST /drain?cancel takes clients again")
			return
		}
		if reasons := notReady(ready); len(reasons) > 0 {
			writeText(w, http.StatusAccepted, strings.Join(reasons, "\n"))
			return
		}
		writeText(w, http.StatusOK, "ready")
	})
}
