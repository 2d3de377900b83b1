package load

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// began is when the process began. Times in messages are nanoseconds since then.
var began = time.Now()

func now() int64 { return int64(time.Since(began)) }

// poll waits for sockets, a timer, and the standard input.
type poll struct {
	epoll, timer int
	armed        int64 // when the timer fires; 0: never
	events       [1024]unix.EpollEvent
}

func newPoll() (*poll, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd_create: %w", err)
	}
	p := &poll{epoll: epoll, timer: timer}
	if err := p.add(timer); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *poll) add(fd int) error {
	err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	if err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// writable sets whether wait returns when a socket can be written.
func (p *poll) writable(fd int, wanted bool) error {
	events := uint32(unix.EPOLLIN)
	if wanted {
		events |= unix.EPOLLOUT
	}
	err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
	if err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// wait waits for events, at most until a time.
func (p *poll) wait(until int64) ([]unix.EpollEvent, error) {
	if until != p.armed {
		p.armed = until
		delay := max(until-now(), 1)
		spec := unix.ItimerSpec{Value: unix.NsecToTimespec(delay)}
		if err := unix.TimerfdSettime(p.timer, 0, &spec, nil); err != nil {
			return nil, fmt.Errorf("timerfd_settime: %w", err)
		}
	}
	n, err := unix.EpollWait(p.epoll, p.events[:], -1)
	if err == unix.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("epoll_wait: %w", err)
	}
	return p.events[:n], nil
}

// ring reads the timer, which has fired.
func (p *poll) ring() {
	var count [8]byte
	_, _ = unix.Read(p.timer, count[:])
	p.armed = 0
}

// dial connects a socket from one of the loopback addresses. There connect does not wait.
func dial(from int, to *unix.SockaddrInet4) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	// The port is chosen at connect, so that each address has all ports.
	_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + from)}})
	if err == nil {
		err = unix.Connect(fd, to)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = unix.Close(fd)
		return 0, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}

func address(hostPort string) (*unix.SockaddrInet4, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	ip := net.ParseIP(host).To4()
	n, err := strconv.Atoi(port)
	if err != nil || ip == nil {
		return nil, fmt.Errorf("%s is no IPv4 address with a port", hostPort)
	}
	return &unix.SockaddrInet4{Port: n, Addr: [4]byte(ip)}, nil
}
