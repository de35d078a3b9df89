package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"syscall"
)

// explain says why there was no answer, and what to do. It holds nothing of the
// request: a URL may have a secret in its query.
func explain(err error) (came, do string) {
	var (
		invalid  x509.CertificateInvalidError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		record   tls.RecordHeaderError
		dns      *net.DNSError
	)
	const proxy = "A proxy of the environment (HTTPS_PROXY) or a firewall may be in between."
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate has expired or is not valid yet", "Check this machine's clock first. Else the server must renew its certificate."
	case errors.As(err, &unknown):
		return "its certificate is signed by an authority that this machine does not know",
			"Install ca-certificates. For a private authority, or a proxy that opens TLS, set SSL_CERT_FILE."
	case errors.As(err, &hostname):
		return "its certificate is for another host", "Check the host in the URL."
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "it does not speak TLS", "Check scheme and port of the URL."
	case errors.As(err, &dns) && dns.IsNotFound:
		return "there is no such host", "Check the host in the URL, and this machine's DNS."
	case errors.As(err, &dns):
		return "the name of the host cannot be resolved", "Check this machine's DNS."
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there", "Check host and port. " + proxy
	case errors.Is(err, os.ErrDeadlineExceeded), timedOut(err):
		return "there was no answer in time", proxy
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner // the innermost has no URL
	}
	return "there was no answer: " + err.Error(), proxy
}

func timedOut(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
