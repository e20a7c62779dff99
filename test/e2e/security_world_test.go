//go:build integration

package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	endian "encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its own certificate
}

// A bearer is whom an authority vouches for: paths of PEM files.
type bearer struct{ cert, key string }

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{key: newKey(t), cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.file = writePEM(t, name, "CERTIFICATE", der)
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// bearer signs a certificate for this machine that names roles in OU.
func (a *authority) bearer(t *testing.T, name string, roles ...string) bearer {
	t.Helper()
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name, OrganizationalUnit: roles}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return bearer{writePEM(t, name, "CERTIFICATE", der), writePEM(t, name+"-key", "PRIVATE KEY", private)}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// argsOf is the command line of a process, as ps shows it.
func argsOf(t *testing.T, pid int) []string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}

// TestSecurityGuideNamesTests sees that every test which the guide to security names is there.
func TestSecurityGuideNamesTests(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "guides", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(?:e2e |((?:(?:registry|hold)/)?[a-z0-9]+)\\.)(Test[A-Za-z0-9]+)").FindAllStringSubmatch(string(page), -1)
	if len(named) < 40 {
		t.Errorf("it names %d tests, want more: is this still how it names them?", len(named))
	}
	for _, n := range named {
		files := filepath.Join(root, "internal", n[1], "*_test.go")
		if n[1] == "" {
			files = "*_test.go"
		}
		paths, err := filepath.Glob(files)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(paths, func(path string) bool {
			text, err := os.ReadFile(path)
			return err == nil && strings.Contains(string(text), "\nfunc "+n[2]+"(")
		}) {
			t.Errorf("%s: no %s in %s", n[0], n[2], files)
		}
	}
}

// listening are the addresses at which a process accepts TCP connections.
func listening(t *testing.T, pid int) (list []netip.Addr) {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	var own []string
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil { // it may be closed by now
			own = append(own, strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]"))
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		file, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			const local, state, inode, listens = 1, 3, 9, "0A"
			if f := strings.Fields(lines.Text()); len(f) > inode && f[state] == listens && slices.Contains(own, f[inode]) {
				list = append(list, addressOf(t, f[local]))
			}
		}
	}
	return list
}

// addressOf reads an address of /proc/net/tcp: words of four bytes, each in this machine's order.
func addressOf(t *testing.T, text string) netip.Addr {
	t.Helper()
	digits, _, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	for word := range slices.Chunk(raw, 4) {
		endian.NativeEndian.PutUint32(word, endian.BigEndian.Uint32(word))
	}
	at, ok := netip.AddrFromSlice(raw)
	if !ok {
		t.Fatalf("%s is no address", text)
	}
	return at.Unmap()
}
