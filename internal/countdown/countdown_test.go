package countdown

import (
	"testing"
	"testing/synctest"
	"time"
)

// start starts a timer of 10 s. ended returns after how long it was over; 0: it is not.
func start() (timer *Timer, ended func() time.Duration) {
	timer = &Timer{}
	began, over := time.Now(), time.Duration(0)
	timer.Start(10*time.Second, func() { over = time.Since(began) })
	return timer, func() time.Duration {
		time.Sleep(time.Hour)
		synctest.Wait()
		return over
	}
}

func TestTimer(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*Timer)
		want time.Duration
	}{
		"left alone": {func(*Timer) {}, 10 * time.Second},
		"paused": {func(timer *Timer) {
			time.Sleep(4 * time.Second)
			timer.Pause()
			timer.Pause()
			time.Sleep(time.Minute)
			timer.Resume(false)
			time.Sleep(time.Minute)
			timer.Resume(false)
		}, 130 * time.Second},
		"paused twice": {func(timer *Timer) {
			for range 2 {
				time.Sleep(time.Second)
				timer.Pause()
				time.Sleep(time.Second)
				timer.Resume(false)
			}
		}, 12 * time.Second},
		"paused for ever":  {(*Timer).Pause, 0},
		"resumed the last": {func(timer *Timer) { timer.Pause(); timer.Resume(true) }, 0},
		"stopped":          {func(timer *Timer) { timer.Pause(); timer.Stop(); timer.Resume(false); timer.Stop() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				timer, ended := start()
				if c.do(timer); ended() != c.want {
					t.Errorf("it was over after %s, want %s", ended(), c.want)
				}
				timer.Stop()
			})
		})
	}
}
