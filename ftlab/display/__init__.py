"""Display: figures, explorers, formula cards, the progress bar."""
