package edge

import (
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"testing"

	"partyline/bus"
	"partyline/wire/msg"
)

// Packets of many clients at the same time, alone and beside deliveries to a thousand members each. The packet is an
// unexpected ack. So the figure is the cost of finding the socket, without that of NATS.
func BenchmarkContention(b *testing.B) {
	x := newBench(b, 1000, openRoom)
	packet := []byte(`3/chat,5[]`)
	m := &bus.Message{
		Subject: "sio.chat.emit.room.room", Data: []byte(`["message"]`), Header: bus.Header{msg.HeaderExcept: {"room"}},
	}
	for _, mode := range []string{"alone", "deliveries"} {
		b.Run(mode, func(b *testing.B) {
			var delivering sync.WaitGroup
			var over atomic.Bool
			if mode == "deliveries" {
				delivering.Go(func() {
					for !over.Load() {
						x.handle(m)
					}
				})
			}
			var next atomic.Int64
			b.SetParallelism(32)
			b.ReportAllocs()
			before := lockWait()
			b.RunParallel(func(pb *testing.PB) {
				c := x.connections[int(next.Add(1))%len(x.connections)]
				for pb.Next() {
					c.Message(packet, false)
				}
			})
			b.ReportMetric((lockWait()-before)*1e9/float64(b.N), "lockwait-ns/op")
			over.Store(true)
			delivering.Wait()
		})
	}
}

// lockWait returns how long goroutines have waited for locks, in seconds.
func lockWait() float64 {
	sample := []metrics.Sample{{Name: "/sync/mutex/wait/total:seconds"}}
	metrics.Read(sample)
	return sample[0].Value.Float64()
}
