"""Places on disks, web servers and object stores, and how bytes get there."""
