package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/durable"
)

// checkpointsFolder is where this computer's clients remember what logs showed.
func checkpointsFolder() string {
	return filepath.Join(xdg("XDG_STATE_HOME", ".local/state"), "poclog", "checkpoints")
}

// madeFile is where this computer remembers in which folder a log of a name was made last.
func madeFile(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return filepath.Join(xdg("XDG_STATE_HOME", ".local/state"), "poclog", "made", hex.EncodeToString(sum[:16]))
}

// maxMade bounds the name of a folder.
const maxMade = 4096

// madeBefore returns the folder of the log of a name that this computer made last, or "".
func madeBefore(origin string) string {
	f, err := os.Open(madeFile(origin))
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMade))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(b), "\n")
}

// rememberMade notes where a log was made. That it cannot be noted is no reason not to make one.
func rememberMade(origin, dir string) {
	path, err := filepath.Abs(dir)
	if err == nil && len(path) < maxMade && durable.MkdirAll(filepath.Dir(madeFile(origin)), 0o700) == nil {
		_ = durable.Replace(madeFile(origin), []byte(path+"\n"), 0o600) // see above
	}
}

// warnOfNamesake says what clients will meet that saw another log of the same name.
func warnOfNamesake(cmd *cobra.Command, origin string) {
	before, seen := madeBefore(origin), ""
	if store, err := client.NewFileStore(checkpointsFolder()); err == nil {
		if file, err := store.Load(origin); err == nil && file != nil {
			seen = store.Name(origin)
		}
	}
	if before == "" && seen == "" {
		return
	}
	where := "clients of this computer have seen a log of this name"
	if before != "" {
		where = "a log of this name was made on this computer before, in " + before
	}
	w := cmd.ErrOrStderr()
	labelled(w, "warning: ", where+". Its keys are others: clients and witnesses that saw it refuse this one, as a log that forked or was replaced.")
	labelled(w, "hint: ", fmt.Sprintf("give each log a name of its own, such as --origin %s-2.", origin))
	if seen != "" {
		labelled(w, "hint: ", "if the old log is gone for good, every client takes the new policy.txt and moves away what it remembers; here:")
		fmt.Fprintf(w, "  mv %s %s.old\n", seen, seen)
	}
}
