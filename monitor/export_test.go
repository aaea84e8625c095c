package monitor

// SetBatchRows makes batches small, so that a short scan has many of them.
func SetBatchRows(n int) { batchRows = n }
