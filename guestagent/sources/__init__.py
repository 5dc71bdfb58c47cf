"""Where bytes come from: each source gives named documents and knows nothing of meaning."""
