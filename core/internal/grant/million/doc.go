// Package million sweeps over many grants on every store, while a visitor comes
// and goes. It holds a test only. It takes a few thousand grants, and a million in
// a long proof:
//
//	go test ./core/internal/grant/million -v -timeout 3h -args -grants 1000000
package million
