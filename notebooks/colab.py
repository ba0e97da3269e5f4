# On Google Colab this cell installs ftlab. Anywhere else it does nothing.
REPOSITORY = ""  # the address of your copy: "https://github.com/you/ftlab"

import sys

if "google.colab" in sys.modules:
    import subprocess
    from importlib.metadata import version
    from pathlib import Path

    if not REPOSITORY:
        raise SystemExit(
            "Write the address of your copy of ftlab between the quotes in the second"
            " line of this cell, then run the cell again."
        )
    torch = f"torch=={version('torch')}"
    Path("keep.txt").write_text(
        f"{torch}\n"
    )  # pip may not exchange the torch that is there
    pip = [sys.executable, "-m", "pip", "install", "-q", "-c", "keep.txt"]
    if subprocess.run([*pip, f"ftlab[embedded] @ git+{REPOSITORY}"]).returncode:
        raise SystemExit(
            f"pip could not install ftlab beside {torch}, and has left it as it was."
            " Its reason stands above. ftlab needs torch 2.10 or newer."
        )
