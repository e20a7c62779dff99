//go:build integration

package e2e

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// tactics are what a process of a siege can do. Each reports when its clients are in position, and returns when they
// have ended: by themselves, or because it is told to leave.
func tactics() map[string]func(*crew) {
	return map[string]func(*crew){
		"camp":        camp,
		"sockets":     socketCamp,
		"idle":        idle,
		"slow heads":  slowHeads,
		"slow bodies": slowBodies,
		"never read":  neverRead,
		"ask":         askOnce,
		"flicker":     flicker,
		"pipelines":   pipelines,
		"download":    download,
		"upload":      upload,
	}
}

// narrow is the size of buffers of clients that want them to be full soon.
const narrow = 4 << 10

// A visitor is one client of a crew.
type visitor struct {
	net.Conn
	answers *bufio.Reader
}

// visit opens a connection.
func (c *crew) visit(narrowed bool) (*visitor, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.From)}, Timeout: 30 * time.Second}
	if narrowed {
		d.Control = func(_, _ string, raw syscall.RawConn) error {
			var failed error
			err := raw.Control(func(fd uintptr) {
				failed = errors.Join(
					syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, narrow),
					syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, narrow))
			})
			return errors.Join(err, failed)
		}
	}
	nc, err := d.Dial("tcp", cmp.Or(c.To, ingress))
	if err != nil {
		return nil, err
	}
	return &visitor{nc, bufio.NewReaderSize(nc, 512)}, nil
}

// muster opens all connections, a few at a time, says opening on each, and reports. begin, if not nil, is what comes
// after that before the report. Who cannot be brought in position is counted as lost.
func (c *crew) muster(narrowed bool, opening string, begin func(*visitor) error) []*visitor {
	visitors := make([]*visitor, c.N)
	few(c.N, func(i int) {
		v, err := c.visit(narrowed)
		if err == nil {
			_, err = io.WriteString(v, opening)
		}
		if err == nil && begin != nil {
			err = begin(v)
		}
		if err != nil {
			c.lost(err)
			return
		}
		visitors[i] = v
	})
	c.report()
	var present []*visitor
	for _, v := range visitors {
		if v != nil {
			present = append(present, v)
		}
	}
	return present
}

// few does n things, a few at a time.
func few(n int, do func(i int)) {
	const atOnce = 32
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(atOnce, n) {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// lost counts what should not have happened.
func (c *crew) lost(err error) { c.count("lost: " + err.Error()) }

// widen gives a narrowed client the buffer of others.
func (v *visitor) widen() {
	if tcp, ok := v.Conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(1 << 20) // or else it takes longer
	}
}

func (c *crew) request(method string, fields ...string) string {
	return method + " " + c.Path + " HTTP/1.1\r\nHost: siege\r\n" + strings.Join(append(fields, "\r\n"), "\r\n")
}

// answer reads one answer to its end and returns its status.
func (v *visitor) answer() (int, error) {
	resp, err := http.ReadResponse(v.answers, nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, errors.Join(err, resp.Body.Close())
}

// ok reads one answer, which must be a good one.
func (v *visitor) ok() error {
	status, err := v.answer()
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("got status %d", status)
	}
	return err
}

// idle is clients that are answered once, keep their connections, and are answered again when they ask again.
func idle(c *crew) {
	ask := c.request("GET")
	visitors := c.muster(false, ask, (*visitor).ok)
	<-c.leave
	few(len(visitors), func(i int) {
		v := visitors[i]
		defer v.Close()
		_, err := io.WriteString(v, ask)
		if err == nil {
			err = v.ok()
		}
		if err != nil {
			c.lost(err)
			return
		}
		c.count("answered again")
	})
}

func slowHeads(c *crew) { c.drip("GET " + c.Path + " HTTP/1.1\r\nHost: siege\r\nX-Slow: ") }

func slowBodies(c *crew) { c.drip(c.request("POST", "Content-Length: 1000000")) }

// drip is clients that send a byte now and then, until they are answered or told to leave.
func (c *crew) drip(opening string) {
	visitors := c.muster(false, opening, nil)
	var ended sync.WaitGroup
	for _, v := range visitors {
		ended.Go(func() {
			defer v.Close()
			switch status, err := v.answer(); {
			case errors.Is(err, net.ErrClosed):
				c.count("left")
			case err != nil:
				c.count("closed")
			default:
				c.count(strconv.Itoa(status))
			}
		})
	}
	all := make(chan struct{})
	go func() {
		ended.Wait()
		close(all)
	}()
	tick := time.NewTicker(c.Pace)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, v := range visitors {
				_, _ = v.Write([]byte("x")) // one that has been answered is closed
			}
		case <-all:
			return
		case <-c.leave:
			for _, v := range visitors {
				_ = v.Close()
			}
			ended.Wait()
			return
		}
	}
}

// neverRead is clients that ask for much and take nothing of it. When they leave they look how it has ended.
func neverRead(c *crew) {
	visitors := c.muster(true, c.request("GET"), nil)
	<-c.leave
	few(len(visitors), func(i int) {
		v := visitors[i]
		defer v.Close()
		v.widen()
		const enough = 2 << 20 // buffers of kernels do not hold so much
		switch n, err := io.CopyN(io.Discard, v, enough); {
		case n == enough:
			c.count("goes on")
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			c.count("cut")
		default:
			c.lost(err)
		}
	})
}

// askOnce is clients that wait for their answer; with a size they send a body, as long as they are not answered.
func askOnce(c *crew) {
	opening := c.request("GET")
	if c.Size > 0 {
		opening = c.request("POST", "Content-Length: "+strconv.FormatInt(c.Size, 10))
	}
	visitors := c.muster(false, opening, nil)
	var ended sync.WaitGroup
	for _, v := range visitors {
		if c.Size > 0 {
			go func() { _, _ = io.CopyN(v, content(), c.Size) }() // until v is closed
		}
		ended.Go(func() {
			defer v.Close()
			status, err := v.answer()
			if err != nil {
				c.lost(err)
				return
			}
			c.count(strconv.Itoa(status))
		})
	}
	ended.Wait()
}

// flicker is clients that leave as soon as they have come: at once, with a reset, in the middle of a head, and with
// a reset in the middle of their answer.
func flicker(c *crew) {
	c.report()
	few(c.N, func(i int) {
		v, err := c.visit(false)
		if err != nil {
			c.lost(err)
			return
		}
		switch whole := c.request("GET"); i % 4 {
		case 0:
		case 1:
			err = v.reset()
		case 2:
			_, err = io.WriteString(v, whole[:len(whole)/2])
		case 3:
			_, err = io.WriteString(v, whole)
			err = errors.Join(err, v.reset())
		}
		if err = errors.Join(err, v.Close()); err != nil {
			c.lost(err)
			return
		}
		c.count("left")
	})
}

// reset makes the connection's close a reset.
func (v *visitor) reset() error {
	tcp, ok := v.Conn.(*net.TCPConn)
	if !ok {
		return errors.New("not TCP")
	}
	return tcp.SetLinger(0)
}

// pipelines is clients that send requests for as long as these are taken, and read nothing before they leave. Then
// they want an answer to each.
func pipelines(c *crew) {
	one := c.request("GET", "X-Padding: "+strings.Repeat("x", 900))
	var mu sync.Mutex
	sent := map[*visitor]int{}
	visitors := c.muster(true, one, func(v *visitor) error {
		n, err := v.fill(one)
		mu.Lock()
		defer mu.Unlock()
		sent[v] = n + len(one)
		return err
	})
	<-c.leave
	few(len(visitors), func(i int) {
		v := visitors[i]
		defer v.Close()
		v.widen()
		rest := ""
		if over := sent[v] % len(one); over > 0 {
			rest = one[over:]
		}
		go func() { _, _ = io.WriteString(v, rest) }()
		total := (sent[v] + len(rest)) / len(one)
		for n := range total {
			// The last request may have waited for its other half for longer than a head may take.
			half := rest != "" && n == total-1
			switch err := v.ok(); {
			case err == nil:
				c.count("answered")
			case !half:
				c.lost(err)
				return
			}
		}
	})
}

// fill writes text again and again until the peer takes no more, and returns how many bytes it took.
func (v *visitor) fill(text string) (total int, err error) {
	const silence = time.Second
	for {
		if err := v.SetWriteDeadline(time.Now().Add(silence)); err != nil {
			return total, err
		}
		n, err := io.WriteString(v, text)
		total += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return total, v.SetWriteDeadline(time.Time{})
		}
		if err != nil {
			return total, err
		}
	}
}
