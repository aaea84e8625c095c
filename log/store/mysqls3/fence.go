package mysqls3

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Times of a fence. The server ends a session that was idle for sessionIdle, and with it its locks;
// a front end of which nothing was heard for frontEndIdle is taken for dead. Both come after a fence
// has broken by itself.
const (
	beatEvery    = 5 * time.Second
	fenceHolds   = 20 * time.Second
	frontEndIdle = 60 * time.Second
)

var errFenced = errors.New("this front end was paused, or without its database, for too long: what it had queued is not written")

// A fence keeps the driver from writing to the database what it queued before this process was
// paused or cut off: other front ends may have gone on without it. It breaks for ever where no beat
// came for fenceHolds. The driver is opened anew behind another fence.
type fence struct {
	mu     sync.Mutex // guards what follows
	last   time.Time  // of the last beat
	broken bool
}

// newFence returns a whole fence.
func newFence() *fence { return &fence{last: time.Now()} }

// check breaks the fence if the last beat is too long ago, by the clock that stands still while a
// machine sleeps or by the one that does not.
func (f *fence) check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if now.Sub(f.last) > fenceHolds || now.Round(0).Sub(f.last.Round(0)).Abs() > fenceHolds {
		f.broken = true
	}
	if f.broken {
		return errFenced
	}
	return nil
}

// beat renews a fence that is whole, as of a time before the database was asked.
func (f *fence) beat(asked time.Time) {
	if f.check() != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = asked
}

// A fencedConn is a connection that nothing is written to once its fence is broken.
type fencedConn struct {
	net.Conn
	fence *fence
}

func (c fencedConn) Write(b []byte) (int, error) {
	if err := c.fence.check(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// SyscallConn lets the driver look whether a connection was closed meanwhile.
func (c fencedConn) SyscallConn() (syscall.RawConn, error) {
	s, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("no system connection")
	}
	return s.SyscallConn()
}

var fences atomic.Int64

// behind returns a dsn whose connections are behind a fence, and what takes its name back.
func (f *fence) behind(d Database, secret string) (dsn string, forget func()) {
	name := fmt.Sprintf("poclog-fence-%d", fences.Add(1))
	network := "tcp"
	if strings.HasPrefix(d.Address, "/") {
		network = "unix"
	}
	mysql.RegisterDialContext(name, func(ctx context.Context, addr string) (net.Conn, error) {
		if err := f.check(); err != nil {
			return nil, err
		}
		c, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return fencedConn{c, f}, nil
	})
	return d.dsn(secret, name), func() { mysql.DeregisterDialContext(name) }
}

// presence is this front end among the others, in a table.
type presence struct {
	db *sql.DB
	id []byte // 16 random bytes

	mu     sync.Mutex // guards what follows
	policy []byte     // that it admits by; nil: it does not admit
	fence  *fence     // of the driver that is open; nil: none is
	stop   context.CancelFunc
	ended  chan struct{}
}

const presenceTable = `CREATE TABLE IF NOT EXISTS PoclogFrontEnds (id BINARY(16) NOT NULL PRIMARY KEY, policy BINARY(32) NOT NULL, seen DATETIME(6) NOT NULL)`

// join says by which policy this front end is going to admit. While another one that lives admits by
// another policy it is an error: an entry must not stand behind the config entry of a policy that
// did not judge it.
func (p *presence) join(ctx context.Context, policy []byte) error {
	p.mu.Lock()
	p.policy = policy
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if _, err := p.db.ExecContext(ctx, presenceTable); err != nil {
		return fmt.Errorf("front ends: %w", explain(err))
	}
	if err := p.say(ctx); err != nil {
		return err
	}
	var others int
	err := p.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM PoclogFrontEnds WHERE id <> ? AND policy <> ? AND seen > SYSDATE(6) - INTERVAL ? SECOND`,
		p.id, policy, int(frontEndIdle.Seconds())).Scan(&others)
	if err != nil {
		return fmt.Errorf("front ends: %w", explain(err))
	}
	if others > 0 {
		return fmt.Errorf("%d other front ends admit by another appraisal.json: stop them, or give all the same (one that died counts for %s)", others, frontEndIdle)
	}
	p.run()
	return nil
}

// say tells the others that this front end lives.
func (p *presence) say(ctx context.Context) error {
	p.mu.Lock()
	policy, fence := p.policy, p.fence
	p.mu.Unlock()
	asked := time.Now()
	_, err := p.db.ExecContext(ctx, `INSERT INTO PoclogFrontEnds (id, policy, seen) VALUES (?, ?, SYSDATE(6)) ON DUPLICATE KEY UPDATE policy = VALUES(policy), seen = VALUES(seen)`, p.id, policy)
	if err != nil {
		return fmt.Errorf("front ends: %w", explain(err))
	}
	if fence != nil {
		fence.beat(asked)
	}
	return nil
}

// run goes on to say so until leave.
func (p *presence) run() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop, p.ended = stop, make(chan struct{})
	go func() {
		defer close(p.ended)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(beatEvery):
			}
			once, cancel := context.WithTimeout(ctx, beatEvery)
			_ = p.say(once) // a fence that is not renewed breaks
			cancel()
		}
	}()
}

// leave takes this front end off the table.
func (p *presence) leave() {
	p.mu.Lock()
	stop, ended := p.stop, p.ended
	p.mu.Unlock()
	if stop == nil {
		return
	}
	stop()
	<-ended
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	_, _ = p.db.ExecContext(ctx, `DELETE FROM PoclogFrontEnds WHERE id = ?`, p.id) // the row grows old otherwise
}

// guardBy has a fence renewed.
func (p *presence) guardBy(f *fence) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fence = f
}

// lost is why the driver must be opened anew, or nil.
func (p *presence) lost() error {
	p.mu.Lock()
	f := p.fence
	p.mu.Unlock()
	if f == nil {
		return nil
	}
	return f.check()
}
