//! The public client: disperse, retrieve, list, delete and verify objects.
