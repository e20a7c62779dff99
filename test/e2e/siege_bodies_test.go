//go:build integration

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// download is clients that want a body of the size that Path names, whole and unchanged.
func download(c *crew) {
	want := sum(c.Size)
	c.transfer(func(v *visitor) (string, error) {
		if _, err := io.WriteString(v, c.request("GET")); err != nil {
			return "", err
		}
		resp, err := http.ReadResponse(v.answers, nil)
		if err != nil {
			return "", err
		}
		got := sha256.New()
		_, err = io.Copy(got, resp.Body)
		return hex.EncodeToString(got.Sum(nil)), errors.Join(err, resp.Body.Close())
	}, want)
}

// upload is clients that send a body and are told what has come.
func upload(c *crew) {
	c.transfer(func(v *visitor) (string, error) {
		if _, err := io.WriteString(v, c.request("POST", "Content-Length: "+strconv.FormatInt(c.Size, 10))); err != nil {
			return "", err
		}
		if _, err := io.CopyN(v, content(), c.Size); err != nil {
			return "", err
		}
		resp, err := http.ReadResponse(v.answers, nil)
		if err != nil {
			return "", err
		}
		got, err := io.ReadAll(resp.Body)
		return string(got), errors.Join(err, resp.Body.Close())
	}, sum(c.Size))
}

// sum is what a body of that size has to have.
func sum(size int64) string {
	s := sha256.New()
	_, _ = io.CopyN(s, content(), size) // neither of the two fails
	return hex.EncodeToString(s.Sum(nil))
}

func (c *crew) transfer(one func(*visitor) (string, error), want string) {
	c.report()
	few(c.N, func(int) {
		v, err := c.visit(false)
		if err != nil {
			c.lost(err)
			return
		}
		defer v.Close()
		got, err := one(v)
		switch {
		case err != nil:
			c.lost(err)
		case got != want:
			c.lost(fmt.Errorf("the body's SHA-256 is %s, want %s", got, want))
		default:
			c.count("whole")
		}
	})
}
