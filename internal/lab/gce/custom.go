package gce

// ImageOf makes an image of two logs of one boot, with or without padding: what an attacker's or
// another real machine measured.
func ImageOf(name string, tcgLog, ccel []byte) (*Image, error) { return newImage(name, tcgLog, ccel) }
