//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/internal/pause"
)

// A stranger takes what it can until its context ends. Begin returns once it has taken hold; ended
// waits until it has let go.
type stranger struct {
	name  string
	fault func(s *stage, on bool) error                                             // what fails beside it; nil is nothing
	begin func(t *targets, ctx context.Context, sc scale) (ended func(), err error) // nil: the fault is all
}

var strangers = []stranger{
	{"idle connections", nil, (*targets).idleConnections},
	{"slow bodies", nil, (*targets).slowBodies},
	{"a flood of posts through the proxy", nil, (*targets).flood},
	{"repeated checkpoints at the witness", nil, (*targets).repeatCheckpoints},
	{"certificates with huge keys", nil, (*targets).hugeKeys},
	{"a witness that hangs", (*stage).hangWitness, nil},
	{"quotes while a log is down", (*stage).stopOther, (*targets).quotesOfALogThatIsDown},
	{"slow readers of alert files", nil, (*targets).slowReaders},
}

// targets are what strangers know of the services.
type targets struct {
	Log, Front, Witness, Monitor string // URLs; Front is the proxy before the log
	Alert                        string // path of an alert's file at the monitor
	Quote                        []byte // that is in the log that is down
	Huge                         []byte // a bundle with a huge key
}

// dial connects to a URL's host from an address.
func dial(ctx context.Context, address, url string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 10 * time.Second}
	return d.DialContext(ctx, "tcp", strings.TrimPrefix(url, "http://"))
}

// connect opens connections from so many addresses of a network to targets by turns, and begins on
// each. What is shut out is left out, as it should be.
func connect(ctx context.Context, n int, network string, addresses int, targets []string, begin func(c net.Conn)) (conns []net.Conn) {
	for i := range n {
		if c, err := dial(ctx, fmt.Sprintf("%s.%d", network, 1+i%addresses), targets[i%len(targets)]); err == nil {
			begin(c)
			conns = append(conns, c)
		}
	}
	return conns
}

// hold keeps connections until the context ends.
func hold(ctx context.Context, conns []net.Conn) (ended func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-ctx.Done()
		for _, c := range conns {
			c.Close()
		}
	}()
	return func() { <-done }
}

// idleConnections opens connections from eight addresses, and says nothing.
func (t *targets) idleConnections(ctx context.Context, sc scale) (func(), error) {
	return hold(ctx, connect(ctx, sc.Idle, "127.0.10", 8, []string{t.Log, t.Witness, t.Monitor, t.Log}, func(net.Conn) {})), nil
}

// slowBodies sends a part of a body at once from four addresses, directly and through the proxy,
// and then a byte now and then.
func (t *targets) slowBodies(ctx context.Context, sc scale) (func(), error) {
	conns := connect(ctx, sc.Slow, "127.0.11", 4, []string{t.Log, t.Front}, func(c net.Conn) {
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		// What the peer does not take is its own care.
		_, _ = fmt.Fprintf(c, "POST /v1/proofs HTTP/1.1\r\nHost: log\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", poclog.BundleType, poclog.MaxBundle, make([]byte, 256<<10))
	})
	ended := hold(ctx, conns)
	var wg sync.WaitGroup
	wg.Go(func() {
		for pause.For(ctx, time.Second) == nil {
			for _, c := range conns {
				_ = c.SetWriteDeadline(time.Now().Add(time.Millisecond))
				_, _ = c.Write([]byte("x")) // it may have been cut off
			}
		}
	})
	return func() { wg.Wait(); ended() }, nil
}

// crowd runs something again and again, from addresses of a network, until the context ends. It
// returns once each has done it for the first time, or a second later.
func crowd(ctx context.Context, n int, network string, after time.Duration, f func(c *http.Client, round int)) (ended func()) {
	var wg sync.WaitGroup
	begun := make(chan struct{}, n)
	for i := range n {
		c := from(fmt.Sprintf("%s.%d", network, 1+i%8))
		wg.Go(func() {
			defer c.CloseIdleConnections()
			f(c, 0)
			begun <- struct{}{}
			for round := 1; pause.For(ctx, after) == nil; round++ {
				f(c, round)
			}
		})
	}
	late := time.After(time.Second)
	for range n {
		select {
		case <-begun:
		case <-late:
			return wg.Wait
		}
	}
	return wg.Wait
}

func post(ctx context.Context, c *http.Client, url, kind string, body io.Reader) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", kind)
	if resp, err := c.Do(req); err == nil {
		drain(resp)
	}
}

// flood posts nothing, and garbage, through the proxy.
func (t *targets) flood(ctx context.Context, sc scale) (func(), error) {
	garbage := [][]byte{nil, []byte("{"), bytes.Repeat([]byte("["), 100_000), bytes.Repeat([]byte{0xff}, 500_000)}
	return crowd(ctx, sc.Flooders, "127.0.12", 20*time.Millisecond, func(c *http.Client, round int) {
		post(ctx, c, t.Front+"/v1/proofs", []string{poclog.BundleType, poclog.SubmissionType}[round%2], bytes.NewReader(garbage[round%len(garbage)]))
	}), nil
}

// repeatCheckpoints sends the log's public checkpoint to the witness, which has cosigned it.
func (t *targets) repeatCheckpoints(ctx context.Context, sc scale) (func(), error) {
	return crowd(ctx, sc.Repeats, "127.0.13", 5*time.Millisecond, func(c *http.Client, _ int) {
		checkpoint, err := get(ctx, c, t.Log+"/checkpoint")
		lines := strings.SplitN(string(checkpoint), "\n", 3)
		if err != nil || len(lines) < 3 {
			return
		}
		for range 10 {
			post(ctx, c, t.Witness+"/add-checkpoint", "", strings.NewReader("old "+lines[1]+"\n\n"+string(checkpoint)))
		}
	}), nil
}

// hugeKeys submits evidence whose attestation key's certificate was signed by a CA with a key of
// 60,000 bits, which nobody signed.
func (t *targets) hugeKeys(ctx context.Context, sc scale) (func(), error) {
	return crowd(ctx, sc.Keys, "127.0.14", 20*time.Millisecond, func(c *http.Client, _ int) {
		post(ctx, c, t.Front+"/v1/proofs", poclog.BundleType, bytes.NewReader(t.Huge))
	}), nil
}

// hugeBundle is such evidence, which answers a challenge of now.
func (s *stage) hugeBundle(ctx context.Context) ([]byte, error) {
	p := &publisher{stage: s, vm: 0, http: from("127.0.14.100"), url: s.front, policy: s.policy}
	sub, err := p.evidence(ctx)
	if err != nil {
		return nil, err
	}
	b, err := poclog.ParseBundle(sub.Bundle)
	if err != nil {
		return nil, err
	}
	b.Set(poclog.ItemTPMAKChain, hugeChain())
	return b.Marshal()
}

// hugeChain is a certificate and its issuer's, whose RSA key is as large as fits. Their signatures
// are noise.
func hugeChain() []byte {
	key := must.Get(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	const size = 7000
	modulus := make([]byte, size)
	must.Get(rand.Read(modulus))
	modulus[0] |= 0x80
	modulus[size-1] |= 1
	huge := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 1<<31 - 1}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "huge"}, NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER := must.Get(x509.CreateCertificate(rand.Reader, ca, ca, huge, key))
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter}
	signer := must.Get(rsa.GenerateKey(rand.Reader, 2048))
	leafDER := must.Get(x509.CreateCertificate(rand.Reader, leaf, ca, &signer.PublicKey, signer))
	var c struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	must.Get(asn1.Unmarshal(leafDER, &c))
	c.Signature = asn1.BitString{Bytes: bytes.Repeat([]byte{0x11}, size), BitLength: 8 * size}
	return append(must.Get(asn1.Marshal(c)), caDER...)
}

// hangWitness has the log's second witness take requests, and not answer.
func (s *stage) hangWitness(on bool) error {
	s.hangs.hangs.Store(on)
	return nil
}

// stopOther holds the process of the other log.
func (s *stage) stopOther(on bool) error {
	if on {
		return s.other.cmd.Process.Signal(syscall.SIGSTOP)
	}
	return s.other.cmd.Process.Signal(syscall.SIGCONT)
}

// quotesOfALogThatIsDown asks about a quote whose receipt the other log would have to give.
func (t *targets) quotesOfALogThatIsDown(ctx context.Context, sc scale) (func(), error) {
	return crowd(ctx, sc.Askers, "127.0.15", 10*time.Millisecond, func(c *http.Client, _ int) {
		_ = ask(ctx, c, t.Monitor, t.Quote) // the answer is nobody's
	}), nil
}

// slowReaders ask for an alert's file, and read nothing of it.
func (t *targets) slowReaders(ctx context.Context, sc scale) (func(), error) {
	return hold(ctx, connect(ctx, sc.Readers, "127.0.16", 4, []string{t.Monitor}, func(c net.Conn) {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetReadBuffer(4096) // as little as the system allows
		}
		_, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: monitor\r\n\r\n", t.Alert) // it may have been cut off
	})), nil
}
