// Command image writes an OCI image of one static binary, without a container engine: a tar file in
// the layout of the OCI image specification (https://github.com/opencontainers/image-spec), that
// skopeo, podman and docker load. The same binary gives the same bytes: there is no time, name or
// order of this machine in it. `make image` runs it.
//
// The image runs as user 65532, and has /poclog, /tmp and /var/lib/poclog. It has no certificates
// of public authorities: the binary has Mozilla's list for that.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"
)

const user = 65532

// epoch stands where the formats want a time.
var epoch = time.Unix(0, 0).UTC()

func main() {
	binary := flag.String("binary", "bin/poclog", "the static binary")
	out := flag.String("o", "bin/poclog.oci.tar", "the image")
	tag := flag.String("tag", "poclog:latest", "the image's name")
	arch := flag.String("arch", runtime.GOARCH, "what the binary runs on")
	flag.Parse()
	digest, err := run(*binary, *out, *tag, *arch)
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
	fmt.Printf("%s %s\n", digest, *out)
}

func run(binary, out, tag, arch string) (digest string, err error) {
	b, err := os.ReadFile(binary)
	if err != nil {
		return "", err
	}
	image, digest, err := build(b, tag, arch)
	if err != nil {
		return "", err
	}
	return digest, os.WriteFile(out, image, 0o644)
}

// A descriptor refers to a blob.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type blobs []file

// add keeps bytes under their digest.
func (s *blobs) add(mediaType string, b []byte) descriptor {
	sum := sha256.Sum256(b)
	name := hex.EncodeToString(sum[:])
	*s = append(*s, file{"blobs/sha256/" + name, b, 0o644, 0})
	return descriptor{MediaType: mediaType, Digest: "sha256:" + name, Size: len(b)}
}

func (s *blobs) addJSON(mediaType string, v any) (descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return descriptor{}, err
	}
	return s.add(mediaType, b), nil
}

// build returns an image as a tar file, and the digest of its manifest.
func build(binary []byte, tag, arch string) (image []byte, digest string, err error) {
	layer, err := archive([]file{
		{"poclog", binary, 0o755, 0},
		{"tmp/", nil, 0o1777, 0},
		{"var/", nil, 0o755, 0},
		{"var/lib/", nil, 0o755, 0},
		{"var/lib/poclog/", nil, 0o755, user},
	})
	if err != nil {
		return nil, "", err
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, "", err
	}
	if _, err := w.Write(layer); err != nil {
		return nil, "", err
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	var s blobs
	layerOf := s.add("application/vnd.oci.image.layer.v1.tar+gzip", packed.Bytes())
	unpacked := sha256.Sum256(layer)
	config, err := s.addJSON("application/vnd.oci.image.config.v1+json", map[string]any{
		"architecture": arch, "os": "linux", "created": epoch,
		"config": map[string]any{
			"User": fmt.Sprintf("%d:%d", user, user), "Entrypoint": []string{"/poclog"}, "WorkingDir": "/var/lib/poclog", "StopSignal": "SIGTERM",
			"Env": []string{"PATH=/", "HOME=/var/lib/poclog"},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(unpacked[:])}},
	})
	if err != nil {
		return nil, "", err
	}
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	manifest, err := s.addJSON(manifestType, map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": []descriptor{layerOf}})
	if err != nil {
		return nil, "", err
	}
	manifest.Annotations = map[string]string{"org.opencontainers.image.ref.name": tag}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []descriptor{manifest}})
	if err != nil {
		return nil, "", err
	}
	files := []file{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644, 0}, {"index.json", index, 0o644, 0},
		{"blobs/", nil, 0o755, 0}, {"blobs/sha256/", nil, 0o755, 0},
	}
	image, err = archive(append(files, s...))
	return image, manifest.Digest, err
}

// A file stands in a tar file; a folder's name ends with a slash.
type file struct {
	name  string
	b     []byte
	mode  int64
	owner int
}

func archive(files []file) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Uid: f.owner, Gid: f.owner, Size: int64(len(f.b)), ModTime: epoch, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if f.name[len(f.name)-1] == '/' {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.b); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}
