package bus

// letter is a message that the worker publishes.
type letter struct {
	subject, reply string
	header         Header
	body           []byte
	keep           bool // worth sending when NATS is back
}

func (l *letter) size() int { return len(l.subject) + len(l.reply) + len(l.body) }

// Later publishes from the bus's worker, for callers that must not wait, in the order of the calls. Without a connection
// the message is dropped and counted, unless keep is set: then it is kept, within bounds, until NATS is back. The bus
// owns header and body from now on.
func (b *Bus) Later(subject, reply string, header Header, body []byte, keep bool) {
	w := b.work
	l := letter{subject, reply, header, body, keep}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.letters) >= maxKept || w.keptBytes+l.size() > maxKeptBytes {
		b.stats.lateDropped.Inc()
		return
	}
	w.keptBytes += l.size()
	w.letters = append(w.letters, l)
	w.nudge()
}

// publish sends the letters; without a connection it only drops those that would come too late.
func (w *worker) publish(connected bool) {
	w.mu.Lock()
	letters := w.letters
	w.letters, w.keptBytes = nil, 0
	w.mu.Unlock()
	var kept []letter
	for _, l := range letters {
		err := ErrOffline
		if connected {
			err = w.bus.PublishWithHeader([]byte(l.subject), []byte(l.reply), l.header, l.body)
		}
		switch {
		case err == nil:
		case err == ErrOffline && l.keep:
			kept = append(kept, l)
		default:
			w.bus.stats.lateDropped.Inc()
			if err != ErrOffline {
				w.bus.complaints.Warn("an answer could not be published", l.subject, err)
			}
		}
	}
	if len(kept) > 0 {
		w.mu.Lock()
		w.letters = append(kept, w.letters...)
		for i := range kept {
			w.keptBytes += kept[i].size()
		}
		w.mu.Unlock()
	}
}
