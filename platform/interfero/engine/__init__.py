"""The plan of cells, the Worker protocol, the Tune driver, packs and resume."""

import warnings

# Raised by libraries as they are imported, and nothing a user could act on.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
