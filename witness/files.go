package witness

import (
	"fmt"
	"os"
	"path/filepath"
)

// mkdirAll makes a folder for its owner alone, and makes it durable in its parent.
func mkdirAll(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the witness folder: %w", err)
	}
	return syncDir(filepath.Dir(filepath.Clean(dir)))
}

// create writes a new file that only its owner can read. The file is durable once it returns; an existing one is an error.
func create(path string, content []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("create: %w", cerr)
		}
	}()
	if _, err := f.Write(content); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync the folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync the folder %s: %w", dir, err)
	}
	return nil
}
