package main

import (
	"os"
	"os/exec"
	"testing"

	"k8s.io/klog/v2"
)

// The library's messages, its errors too, do not reach people.
func TestTesseraIsQuiet(t *testing.T) {
	if os.Getenv("POCLOG_TEST_QUIET") != "" {
		quietTessera()
		klog.Errorf("an error of the library's")
		klog.Flush()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestTesseraIsQuiet$")
	cmd.Env = append(os.Environ(), "POCLOG_TEST_QUIET=1")
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "PASS\n" {
		t.Errorf("%q, %v", out, err)
	}
}
