/* Prints what the kernel's own header says, for test_video.py to compare. */
#include <linux/videodev2.h>
#include <stddef.h>
#include <stdio.h>

#define NUMBER(name) printf("%s %lu\n", #name, (unsigned long)(name))
#define SIZE(type) printf("sizeof %s %zu\n", #type, sizeof(struct type))
#define AT(type, field) printf("%s.%s %zu\n", #type, #field, offsetof(struct type, field))

int main(void)
{
	NUMBER(VIDIOC_QUERYCAP);
	NUMBER(VIDIOC_REQBUFS);
	NUMBER(VIDIOC_QUERYBUF);
	NUMBER(VIDIOC_QBUF);
	NUMBER(VIDIOC_DQBUF);
	NUMBER(VIDIOC_STREAMON);
	NUMBER(VIDIOC_STREAMOFF);
	NUMBER(V4L2_CAP_VIDEO_CAPTURE);
	NUMBER(V4L2_CAP_VIDEO_CAPTURE_MPLANE);
	NUMBER(V4L2_CAP_STREAMING);
	NUMBER(V4L2_CAP_DEVICE_CAPS);
	NUMBER(V4L2_BUF_TYPE_VIDEO_CAPTURE);
	NUMBER(V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE);
	NUMBER(V4L2_MEMORY_MMAP);
	NUMBER(V4L2_BUF_FLAG_ERROR);
	SIZE(v4l2_capability);
	SIZE(v4l2_requestbuffers);
	SIZE(v4l2_buffer);
	SIZE(v4l2_plane);
	AT(v4l2_capability, driver);
	AT(v4l2_capability, card);
	AT(v4l2_capability, capabilities);
	AT(v4l2_capability, device_caps);
	AT(v4l2_requestbuffers, count);
	AT(v4l2_requestbuffers, type);
	AT(v4l2_requestbuffers, memory);
	AT(v4l2_buffer, index);
	AT(v4l2_buffer, type);
	AT(v4l2_buffer, bytesused);
	AT(v4l2_buffer, flags);
	AT(v4l2_buffer, sequence);
	AT(v4l2_buffer, memory);
	AT(v4l2_buffer, m);
	AT(v4l2_buffer, length);
	AT(v4l2_plane, bytesused);
	AT(v4l2_plane, length);
	AT(v4l2_plane, m);
	return 0;
}
