package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

// unpack reads a tar file.
func unpack(t *testing.T, b []byte) (files map[string][]byte, headers map[string]*tar.Header) {
	t.Helper()
	files, headers = make(map[string][]byte), make(map[string]*tar.Header)
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, headers
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		headers[h.Name] = h
	}
}

// An image is followed from its index to the binary: each reference has the digest and the size of
// what it leads to.
func TestImageLeadsFromItsIndexToTheBinary(t *testing.T) {
	binary := bytes.Repeat([]byte("a static binary "), 1000)
	image, digest, err := build(binary, "poclog:v1", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	if again, other, err := build(bytes.Clone(binary), "poclog:v1", "amd64"); err != nil || !bytes.Equal(image, again) || other != digest {
		t.Errorf("built twice it differs: %v", err)
	}
	if other, _, err := build(append(binary, 'x'), "poclog:v1", "amd64"); err != nil || bytes.Equal(image, other) {
		t.Errorf("another binary gives the same image: %v", err)
	}
	files, _ := unpack(t, image)
	blob := func(d descriptor) []byte {
		t.Helper()
		b := files["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
		sum := sha256.Sum256(b)
		if "sha256:"+hex.EncodeToString(sum[:]) != d.Digest || len(b) != d.Size {
			t.Fatalf("%+v leads to %d bytes of digest %x", d, len(b), sum)
		}
		return b
	}
	decode := func(b []byte, v any) {
		t.Helper()
		if err := json.Unmarshal(b, v); err != nil {
			t.Fatal(err)
		}
	}
	var index struct{ Manifests []descriptor }
	decode(files["index.json"], &index)
	if len(index.Manifests) != 1 || index.Manifests[0].Digest != digest || string(files["oci-layout"]) != `{"imageLayoutVersion":"1.0.0"}` {
		t.Fatalf("%s %s", files["index.json"], files["oci-layout"])
	}
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	decode(blob(index.Manifests[0]), &manifest)
	var config struct {
		Architecture, OS string
		Config           struct {
			User       string
			Entrypoint []string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	decode(blob(manifest.Config), &config)
	if config.Config.User != "65532:65532" || config.Config.Entrypoint[0] != "/poclog" || config.Architecture != "amd64" || config.OS != "linux" {
		t.Errorf("%+v", config)
	}
	zipped, err := gzip.NewReader(bytes.NewReader(blob(manifest.Layers[0])))
	if err != nil {
		t.Fatal(err)
	}
	layer, err := io.ReadAll(zipped)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(layer); config.RootFS.DiffIDs[0] != "sha256:"+hex.EncodeToString(sum[:]) {
		t.Errorf("the layer has digest %x: %v", sum, config.RootFS.DiffIDs)
	}
	inside, headers := unpack(t, layer)
	if !bytes.Equal(inside["poclog"], binary) || headers["poclog"].Mode != 0o755 || headers["var/lib/poclog/"].Uid != user || headers["tmp/"].Mode != 0o1777 {
		t.Errorf("%+v", headers)
	}
	for name, h := range headers {
		if !h.ModTime.Equal(epoch) {
			t.Errorf("%s has the time %s", name, h.ModTime)
		}
	}
}
