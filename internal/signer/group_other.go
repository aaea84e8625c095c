//go:build !unix

package signer

import "os/exec"

// ownGroup does nothing: here a context ends the command alone.
func ownGroup(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }
