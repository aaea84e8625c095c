//go:build !unix

package durable

// CheckPrivate checks nothing: this system says in another way who may write a folder.
func CheckPrivate(string) error { return nil }

// CheckOwn checks nothing: this system says in another way who may write a file.
func CheckOwn(string) error { return nil }
