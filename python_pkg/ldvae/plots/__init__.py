"""Pictures of tables; the only wing that knows matplotlib."""
