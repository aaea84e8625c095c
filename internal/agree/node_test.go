package agree

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const script = "../../js/build/agree.js"

// A question is what both implementations are asked about a file.
type question struct {
	Op      string         `json:"op"`
	Format  string         `json:"format,omitempty"`
	File    []byte         `json:"file"`
	Policy  []byte         `json:"policy,omitempty"`
	Time    string         `json:"time,omitempty"`
	Realm   string         `json:"realm,omitempty"`
	Demands map[string]any `json:"demands,omitempty"`
	Claims  []claim        `json:"claims,omitempty"`

	Register *register `json:"register,omitempty"`
	Dossiers [][]byte  `json:"dossiers,omitempty"`
	Pins     []byte    `json:"pins,omitempty"`     // a reader's file of registrars
	Openings [][]byte  `json:"openings,omitempty"` // files

	from string // how the file came about, for whoever reads a disagreement
}

// A claim is an entry where it stands, for the rules.
type claim struct {
	Leaf   []byte `json:"leaf"`
	Origin string `json:"origin"`
	Index  string `json:"index"`
	T1     string `json:"t1,omitempty"` // Unix seconds
	T2     string `json:"t2,omitempty"`
	After  bool   `json:"after,omitempty"`
}

type answer struct {
	Outcome string `json:"outcome"`
	Detail  string `json:"detail"`
}

// node is the TypeScript implementation, in a process of its own.
type node struct {
	in  *json.Encoder
	buf *bufio.Writer
	out *bufio.Scanner
}

// startNodes starts so many of them.
func startNodes(t *testing.T, n int) []*node {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Skip("Node is not installed; on Debian: apt-get install nodejs npm")
	}
	for _, pattern := range []string{"../../js/dist/*.js", "../../js/build/*.js"} { // read, so that no result of another build is taken for this one's
		files, _ := filepath.Glob(pattern)
		if len(files) == 0 {
			t.Skip("js/ is not built: make js")
		}
		for _, f := range files {
			if _, err := os.ReadFile(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	nodes := make([]*node, n)
	for i := range nodes {
		nodes[i] = startNode(t, path)
	}
	return nodes
}

func startNode(t *testing.T, path string) *node {
	t.Helper()
	cmd := exec.Command(path, script)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	n := &node{buf: bufio.NewWriterSize(stdin, 1<<20), out: bufio.NewScanner(stdout)}
	n.in = json.NewEncoder(n.buf)
	n.out.Buffer(nil, 1<<20)
	return n
}

// ask sends all questions, and gives the answers in turn. It closes the channel, which must have
// room for all.
func (n *node) ask(all []question, answers chan<- answer) error {
	defer close(answers)
	sent := make(chan error, 1)
	go func() {
		for i := range all {
			if err := n.in.Encode(&all[i]); err != nil {
				sent <- err
				return
			}
		}
		sent <- n.buf.Flush()
	}()
	for i := range all {
		if !n.out.Scan() {
			return fmt.Errorf("node ended at question %d of %d: %w", i, len(all), n.out.Err())
		}
		var a answer
		if err := json.Unmarshal(n.out.Bytes(), &a); err != nil {
			return err
		}
		answers <- a
	}
	return <-sent
}
