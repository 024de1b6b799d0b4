"""What is started in place of a rank: it refuses its work as one."""

import sys

from rasterloom.cluster.gang import REFUSED

print('["SettingError", "the chips are no good"]')
sys.exit(REFUSED)
