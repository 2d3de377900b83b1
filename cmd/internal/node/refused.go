package node

import (
	"net/http"
	"time"
)

// hangingUp ends the connection of each client that gets an error. Those of proxies carry other clients, too.
func (e *edge) hangingUp(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(&errorEnder{w, e, r}, r)
	})
}

// errorEnder is a ResponseWriter that ends the connection after an error.
type errorEnder struct {
	http.ResponseWriter
	edge    *edge
	request *http.Request
}

// WriteHeader sends the status.
func (e *errorEnder) WriteHeader(status int) {
	if status >= http.StatusBadRequest && !e.edge.Engine.FromTrustedProxy(e.request) {
		e.Header().Set("Connection", "close")
		if e.request.ContentLength != 0 { // net/http reads the rest of the body before it closes the connection
			_ = http.NewResponseController(e.ResponseWriter).SetReadDeadline(time.Now().Add(refusedTimeout))
		}
	}
	e.ResponseWriter.WriteHeader(status)
}

// Unwrap returns the writer for http.ResponseController.
func (e *errorEnder) Unwrap() http.ResponseWriter { return e.ResponseWriter }
