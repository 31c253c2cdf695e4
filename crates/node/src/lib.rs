//! One storage node: the synchronous core that owns the machines and the shell that runs its effects.
