package monitor

// SetBatchRows makes batches small, so that a short scan has many of them, until the function that
// it returns is called.
func SetBatchRows(n int) (undo func()) {
	was := batchRows
	batchRows = n
	return func() { batchRows = was }
}

// SetMaxTerms makes the strings that are kept of a log few, until the function that it returns is
// called.
func SetMaxTerms(n int) (undo func()) {
	was := maxTerms
	maxTerms = n
	return func() { maxTerms = was }
}
