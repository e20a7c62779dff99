package http2

import (
	"net"
	"time"
)

// A Pipe is a stream's bodies as a net.Conn: what is read is the peer's, what is written is ours. Reading ends with
// io.EOF; trailers are asked for at the stream. What is written waits for Flush as the stream says.
type Pipe struct {
	*Stream
}

// Ready is a stream whose bodies are not waited for: the peer's is read as far as it has come, ours is written as far as the
// peer takes it at once.
type Ready struct {
	*Stream
}

// Read implements io.Reader: nothing, and no error, says that there is nothing yet. io.EOF may come with the last bytes.
func (r Ready) Read(b []byte) (int, error) { return r.read(b, false) }

// WriteBody is that of the stream; os.ErrDeadlineExceeded says that the rest, or the end, is still to be written.
func (r Ready) WriteBody(p []byte, end bool) (int, error) { return r.write(p, end, false) }

// Read implements io.Reader.
func (p Pipe) Read(b []byte) (int, error) { return p.ReadBody(b) }

// Write implements io.Writer.
func (p Pipe) Write(b []byte) (int, error) { return p.WriteBody(b, false) }

// CloseWrite ends our body.
func (p Pipe) CloseWrite() error {
	_, err := p.WriteBody(nil, true)
	return err
}

// Close ends the stream at once.
func (p Pipe) Close() error {
	p.Reset(Cancel)
	return nil
}

// SetDeadline implements net.Conn.
func (p Pipe) SetDeadline(t time.Time) error {
	p.Stream.SetReadDeadline(t)
	p.Stream.SetWriteDeadline(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (p Pipe) SetReadDeadline(t time.Time) error {
	p.Stream.SetReadDeadline(t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (p Pipe) SetWriteDeadline(t time.Time) error {
	p.Stream.SetWriteDeadline(t)
	return nil
}

// LocalAddr is that of the connection.
func (p Pipe) LocalAddr() net.Addr { return p.Conn().nc.LocalAddr() }

// RemoteAddr is that of the connection.
func (p Pipe) RemoteAddr() net.Addr { return p.Conn().nc.RemoteAddr() }
