package profile

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
)

// largestEntry is how many bytes an entry of a managed VM has at most: one that grows is noticed
// here, and docs/performance.md says where the bytes go.
const largestEntry = 3300

// Where the bytes of an entry go, member by member: go test -run Sizes -v ./verify/profile.
func TestSizesOfAnEntrysMembers(t *testing.T) {
	w := newWorld(t)
	leaf := leafOf(t, judging(t, w, w.Honest()))
	if len(leaf) > largestEntry {
		t.Errorf("an entry has %d bytes: want at most %d", len(leaf), largestEntry)
	}
	sum := sizesOf(t, "", leaf)
	if sum != len(leaf) {
		t.Errorf("the members have %d bytes, and the entry %d", sum, len(leaf))
	}
}

// sizesOf logs the bytes of an object's members, with name and punctuation, and returns those of the
// object.
func sizesOf(t *testing.T, within string, object []byte) (sum int) {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.SortedFunc(maps.Keys(members), func(a, b string) int { return len(members[b]) - len(members[a]) }) {
		n := len(name) + len(`"":,`) + len(members[name])
		t.Logf("%5d %s%s", n, within, name)
		sum += n
		if name == "cvm" || name == "tpm" || name == "fresh" {
			sizesOf(t, name+".", members[name])
		}
	}
	return sum + len("{}") - len(",")
}
