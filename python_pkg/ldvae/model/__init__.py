"""The variational autoencoder: its settings, its network, its objective and how it is trained."""
