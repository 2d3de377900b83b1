package config

func init() {
	badConfigurations["presence"] = bad{file: "namespaces:\n" + `  "/k": {presence: maybe}
  "/l": {presence: [""]}
  "/m": {presence: {rooms: [], by: name, max: 0, event: connect, who: x}}
`, want: []string{
		`FILE:2: namespaces: "/k": presence: "maybe" is neither true nor false`,
		`FILE:3: namespaces: "/l": presence[0]: is empty; write a room's name or a pattern`,
		`FILE:4: namespaces: "/m": presence: by: "name" is not one of socket, user`,
		`FILE:4: namespaces: "/m": presence: max: 0 is too few; write at least 1`,
		`FILE:4: namespaces: "/m": presence: event: "connect" has another meaning already; choose another name`,
		`FILE:4: namespaces: "/m": presence: unknown key "who"`,
		`FILE:4: namespaces: "/m": presence: names no room; write true for all rooms, or patterns`,
	}}
}
