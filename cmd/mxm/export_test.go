package main

import (
	"context"
	"io"
)

func Run(ctx context.Context, args []string, in io.Reader, out, err io.Writer) int {
	return run(ctx, args, streams{in, out, err})
}
