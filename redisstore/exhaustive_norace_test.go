//go:build !race

package redisstore

// lessDeep is how much less deep the search goes.
const lessDeep = 0
