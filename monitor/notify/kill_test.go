package notify_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/notify"
)

// Variables that make this test's process a courier.
const (
	envFolder = "POCLOG_TEST_COURIER_FOLDER"
	envHook   = "POCLOG_TEST_COURIER_HOOK"
)

// TestMain makes the process a courier until it is killed, if it was started as one.
func TestMain(m *testing.M) {
	dir := os.Getenv(envFolder)
	if dir == "" {
		os.Exit(m.Run())
	}
	folder, err := monitor.Open(dir, monitor.Config{})
	if err != nil {
		panic(err)
	}
	hook, err := notify.NewWebhook(os.Getenv(envHook), [][]byte{secret}, "poclog test", time.Now, nil)
	if err != nil {
		panic(err)
	}
	notify.NewCourier(folder, hook, notify.Config{Poll: time.Millisecond}).Run(context.Background())
}

// kills is how often a courier is killed.
func kills(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("POCLOG_KILLS"))
	if err != nil {
		n = 12
	}
	if testing.Short() {
		n = 3
	}
	return n
}

// Wherever a process is killed, every alert is told, with one id and one body, and told again only
// where nobody could know that it was.
func TestNoAlertIsLostWhereverACourierIsKilled(t *testing.T) {
	b := newBench(t)
	taken := make(chan struct{}, 1)
	r, url := newReceiver(t, func(_ int, _ string, w http.ResponseWriter) {
		w.WriteHeader(http.StatusNoContent)
		select {
		case taken <- struct{}{}:
		default:
		}
	})
	n := kills(t)
	alerts := 100 + 40*n
	var list []monitor.Alert
	for i := range alerts {
		list = append(list, alert(i))
	}
	b.raise(t, list...)
	for i := range n {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), envFolder+"="+b.dir, envHook+"="+url)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// At least one alert is on its way when the process dies, at another moment each time.
		select {
		case <-taken:
		case <-time.After(time.Minute):
			t.Fatal("nothing was told")
		}
		time.Sleep(time.Duration(i%7) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		select {
		case <-taken:
		default:
		}
	}
	if left, err := b.courier(b.webhook(t, url, nil)).Flush(t.Context()); left != 0 || err != nil {
		t.Fatal(left, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.bodies) != alerts {
		t.Errorf("%d alerts were told: want %d", len(r.bodies), alerts)
	}
	again := 0
	for id, bodies := range r.bodies {
		again += len(bodies) - 1
		for _, body := range bodies[1:] {
			if body != bodies[0] {
				t.Errorf("%s: told in two ways", id)
			}
		}
	}
	if again > n {
		t.Errorf("%d were told again after %d kills", again, n)
	}
	t.Logf("%d kills, %d told again", n, again)
}
