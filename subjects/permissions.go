package subjects

// Ready is the event of an edge that finds out whether NATS lets it publish the events of a namespace:
// <p>.<ns>.on.$ready. An event of a client has never this subject: the same name is spelled %24ready.
const Ready = "$ready"

// EdgePermissions returns what an edge must be able to do at NATS, as the contract lists it (docs/subjects.md, Permissions).
func (p Prefix) EdgePermissions() (publish, subscribe []string) {
	for _, tail := range []string{
		"*." + VerbOn + ".>", "*." + VerbOwn + ".>", "*." + VerbEmit + ".>", "*." + VerbBroadcast + ".>",
		internalEdge + ".>", internalService + ".*.*." + WordPing,
	} {
		publish = append(publish, p.dotted+tail)
	}
	for _, tail := range []string{
		"*.*." + wordAll, "*.*." + wordRoom + ".>", "*.*." + wordSocket + ".*.*", "*." + VerbAck + ".*.*.*",
		internalEdge + ".>", internalService + ".>",
	} {
		subscribe = append(subscribe, p.dotted+tail)
	}
	return append(publish, "_INBOX.>"), append(subscribe, "$SRV.>")
}
