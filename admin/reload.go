package admin

import (
	"net/http"
	"net/netip"
)

// Reloader reads the configuration of the process again. The error says, a reason a line, why it stays as it is. unfit:
// the new configuration is good, but this process cannot go on with it.
type Reloader func() (unfit bool, err error)

// reloadPage reloads. Without a token only programs on this machine may: with admin.insecure others reach the page, too.
func reloadPage(reload Reloader, hasToken bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if !hasToken && (err != nil || !from.Addr().Unmap().IsLoopback()) {
			writeText(w, http.StatusForbidden, "without admin.token only programs on the same machine may reload")
			return
		}
		if r.URL.RawQuery != "" {
			writeText(w, http.StatusBadRequest, "POST /reload reads the configuration again, and takes no parameters")
			return
		}
		switch unfit, err := reload(); {
		case err == nil:
			writeText(w, http.StatusOK, "reloaded")
		case unfit:
			writeText(w, http.StatusConflict, err.Error())
		default:
			writeText(w, http.StatusBadRequest, err.Error())
		}
	}
}
