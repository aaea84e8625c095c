// Package agree holds no code but a test: two implementations of docs/format.md, this one and the
// one in js/, are asked what they make of the same files, and must answer the same. The files are
// the vectors, mutated by bytes and by structure, and files that are made and signed here.
//
// POCLOG_AGREE says how many files are tried (20,000 without it), POCLOG_SEED which ones. A batch
// is 500 files, and POCLOG_BATCH the first batch of the seed that is tried: 500,000 files from
// batch 0 and 500,000 from batch 1,000 are the same files as 1,000,000 from batch 0. `make js`
// builds what the test asks. There are as many Node processes as processors.
package agree
