// Package embed has the programs of docs/how-to/embed.md, in a module of its own: Partyline needs neither Gin nor Echo.
package embed

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/labstack/echo/v4"

	"partyline"
)

func netHTTP(srv *partyline.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/socket.io", srv) // for clients with addTrailingSlash: false
	return mux
}

func ginRouter(srv *partyline.Server) http.Handler {
	router := gin.New()
	router.Any("/socket.io/*any", gin.WrapH(srv))
	router.GET("/hello", func(c *gin.Context) { c.String(http.StatusOK, "hello") })
	return router
}

func echoRouter(srv *partyline.Server) http.Handler {
	e := echo.New()
	e.Any("/socket.io/*", echo.WrapHandler(srv))
	e.GET("/hello", func(c echo.Context) error { return c.String(http.StatusOK, "hello") })
	return e
}
