"""Display: tables, figures, explorers, formula cards, the progress bar."""
