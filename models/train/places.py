"""Where the training keeps what it makes: WORK, ignored by git, and the built-in model."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
MODELS = HERE.parent
TINY = MODELS / "tiny"
WORK = Path(os.environ.get("TRAIN_WORK", HERE / "work"))
WORK.mkdir(parents=True, exist_ok=True)

# The scripts of the folder above are shared.
sys.path.append(str(MODELS))
