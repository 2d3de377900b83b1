package node

import "runtime/debug"

// version is set by the linker for releases: -ldflags "-X partyline/cmd/internal/node.version=v1.2.3".
var version string

// Version is the program's version: the release's, or what the go command has noted, or "devel".
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
